"""The sampler against a naive one, and what it must never draw."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from tinyaya.runtime import Logits, Sampler, SamplingError
from tinyaya.runtime.sampling import _likeliest


def naive_distribution(
    logits_V: Logits, temperature: float, top_k: int, top_p: float
) -> NDArray[np.float64]:
    """Probabilities_V by the book: sort all, cut, renormalize."""
    order = sorted(range(len(logits_V)), key=lambda token: (-logits_V[token], token))
    order = order[: top_k or None]
    weights = [
        float(np.exp((float(logits_V[t]) - float(logits_V.max())) / temperature)) for t in order
    ]
    total, reached, kept = sum(weights), 0.0, 0
    while kept < len(order) and reached < top_p * total:
        reached += weights[kept]
        kept += 1
    probabilities = np.zeros(len(logits_V))
    for token, weight in zip(order[:kept], weights[:kept], strict=True):
        probabilities[token] = weight / reached
    return probabilities


def random_logits(seed: int, size: int = 40) -> Logits:
    """Rounded, so that ties are common."""
    source = np.random.default_rng(seed)
    return (source.normal(size=size) * 2).round(0 if seed % 2 else 2).astype(np.float32)


def drawn(sampler: Sampler, logits_V: Logits, count: int) -> NDArray[np.float64]:
    counts = Counter(sampler.sample(logits_V) for _ in range(count))
    return np.array([counts[token] for token in range(len(logits_V))]) / count


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("top_k", [0, 1, 5, 40, 99])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3])
def test_draws_have_the_naive_distribution(seed: int, top_k: int, top_p: float) -> None:
    logits_V = random_logits(seed)
    expected = naive_distribution(logits_V, 0.7, top_k, top_p)
    got = drawn(Sampler(temperature=0.7, top_k=top_k, top_p=top_p, seed=seed), logits_V, 1500)
    assert not got[expected == 0].any()
    assert np.abs(got - expected).max() < 0.06


@pytest.mark.parametrize("size", [2, 799, 800, 801, 5000, 262_144])
def test_top_k_of_a_large_vocabulary(size: int) -> None:
    logits_V = random_logits(size, size)
    best = np.argsort(-logits_V, kind="stable")[:50]
    found = _likeliest(logits_V, 50)
    assert found.tolist() == best.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_greedy_takes_the_lowest_of_the_best(seed: int) -> None:
    logits_V = random_logits(seed)
    best = min(token for token in range(40) if logits_V[token] == logits_V.max())
    assert Sampler().sample(logits_V) == best
    assert Sampler(temperature=1e-320).sample(logits_V) in np.flatnonzero(
        logits_V == logits_V.max()
    )


def test_a_seed_gives_a_sequence() -> None:
    logits_V = np.zeros(100, np.float32)
    draws = [
        [sampler.sample(logits_V) for _ in range(20)]
        for sampler in (Sampler(temperature=1.0, seed=seed) for seed in (7, 7, 8))
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) > 10


@pytest.mark.parametrize("top_k", [0, 3, 50])
def test_ids_at_minus_infinity_are_never_drawn(top_k: int) -> None:
    logits_V = np.full(60, -np.inf, np.float32)
    logits_V[[7, 30]] = 1.0
    sampler = Sampler(temperature=5.0, top_k=top_k)
    assert {sampler.sample(logits_V) for _ in range(300)} == {7, 30}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite(bad: float, temperature: float) -> None:
    logits_V = np.array([1.0, bad, 2.0], np.float32)
    with pytest.raises(SamplingError, match="highest logit"):
        Sampler(temperature=temperature).sample(logits_V)


def test_nothing_left_to_draw() -> None:
    with pytest.raises(SamplingError, match="-inf"):
        Sampler(temperature=1.0).sample(np.full(4, -np.inf, np.float32))


@pytest.mark.parametrize(
    "options",
    [{"temperature": -0.1}, {"temperature": float("nan")}, {"temperature": float("inf")},
     {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_p": float("nan")}, {"seed": -1}],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(SamplingError, match=next(iter(options))):
        Sampler(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"top_p": 0.9}, {"min_p": 0.02}, {"top_p": 0.5, "min_p": 0.1}])
@pytest.mark.parametrize("spread", [0.5, 3.0, 8.0])
def test_what_is_not_sorted_would_not_be_drawn(options: dict, spread: float) -> None:
    """The candidates are the head of all sorted, and reach as far as the options do."""
    logits_V = random_logits(50_000, 50_000) * np.float32(spread)
    logits_V[40_000:] = -np.inf
    ids_K, share = Sampler(temperature=1.0, **options)._candidates(logits_V)
    order = np.argsort(-logits_V, kind="stable")
    assert ids_K.tolist() == order[: len(ids_K)].tolist()
    weights = np.exp(logits_V[order].astype(np.float64) - logits_V[order[0]])
    assert share * weights[: len(ids_K)].sum() == pytest.approx(weights.sum())
    by_mass = np.searchsorted(np.cumsum(weights), options.get("top_p", 1.0) * weights.sum()) + 1
    by_share = (weights >= options.get("min_p", 0.0)).sum()
    assert len(ids_K) >= min(by_mass, by_share)
