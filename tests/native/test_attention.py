"""The attention operator by itself against its definition in float64, for all kernels.

Suffixes: T queries, H query heads, K key-value heads, S slots, E head size.
"""

import ctypes as c
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

KERNELS = ("base", "avx2", "avx512")
NEAR = 2e-6  # of the largest result


class Attention(c.Structure):
    """`Attention` of attention.h."""

    _fields_ = (
        *((name, c.c_void_p) for name in ("q", "keys", "values", "mask", "y")),
        *((name, c.c_int64) for name in ("tokens", "heads", "kv_heads", "size")),
        *((name, c.c_int64) for name in ("slots", "start", "mask_stride")),
        ("scale", c.c_float),
        ("causal", c.c_bool),
        ("codes", c.c_bool),
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sizes of a call; `start`: None attends under a random mask, else causally from there."""

    tokens: int
    heads: int = 8
    kv_heads: int = 2
    size: int = 32
    slots: int
    start: int | None


CASES = {
    "first token": Case(tokens=1, slots=40, start=0),
    "one key more than a block": Case(tokens=1, slots=65, start=64),
    "decode over several parts": Case(
        tokens=1, size=128, heads=16, kv_heads=4, slots=1100, start=1021
    ),
    "decode in a ring": Case(tokens=1, size=128, heads=16, kv_heads=4, slots=700, start=None),
    "a few queries": Case(tokens=5, slots=300, start=270),
    "a few queries in a ring": Case(tokens=7, slots=300, start=None),
    "prefill": Case(tokens=64, slots=200, start=100),
    "prefill in a ring": Case(tokens=70, slots=191, start=None),
    "rows of two parts": Case(tokens=33, heads=16, slots=90, start=3),
    "no grouped queries": Case(tokens=12, heads=3, kv_heads=3, slots=30, start=9),
    "one key-value head": Case(tokens=9, heads=5, kv_heads=1, size=64, slots=80, start=50),
    "head size of no vector": Case(tokens=1, size=6, slots=50, start=20),
    "head size of a vector and a half": Case(tokens=40, size=24, slots=150, start=None),
}


@pytest.fixture(scope="module")
def library(native: Path) -> c.CDLL:
    from tinyaya.runtime.engines.native import load_library

    return load_library()


@pytest.fixture(params=KERNELS)
def kernels(library: c.CDLL, request: pytest.FixtureRequest) -> Iterator[str]:
    best = library.tinyaya_kernels()
    if library.tinyaya_choose_kernels(request.param.encode()):
        pytest.skip(f"this CPU does not run the kernels {request.param}")
    yield request.param
    library.tinyaya_choose_kernels(best)


def operands(case: Case, codes: bool) -> tuple[NDArray, NDArray, NDArray, NDArray | None]:
    generator = np.random.default_rng(len(str(case)))
    q_THE = generator.normal(size=(case.tokens, case.heads, case.size)).astype(np.float32)
    shape = (case.slots, case.kv_heads, case.size)
    keys_SKE, values_SKE = (
        generator.integers(-127, 128, shape).astype(np.int8)
        if codes
        else (3 * generator.normal(size=shape)).astype(np.float32)
        for _ in range(2)
    )
    mask_TS = None
    if case.start is None:
        hidden = generator.random((case.tokens, case.slots)) < 0.3
        hidden[:, 64:128] = True  # a whole block that no query sees
        bias = generator.normal(size=hidden.shape)
        mask_TS = np.where(hidden, -np.inf, bias).astype(np.float32)
    return q_THE / (50 if codes else 1), keys_SKE, values_SKE, mask_TS


def attend(
    library: c.CDLL,
    case: Case,
    q_THE: NDArray,
    keys_SKE: NDArray,
    values_SKE: NDArray,
    mask_TS: NDArray | None,
) -> NDArray:
    y_THE = np.full_like(q_THE, np.nan)
    call = Attention(
        q=q_THE.ctypes.data,
        keys=keys_SKE.ctypes.data,
        values=values_SKE.ctypes.data,
        mask=None if mask_TS is None else mask_TS.ctypes.data,
        y=y_THE.ctypes.data,
        tokens=case.tokens,
        heads=case.heads,
        kv_heads=case.kv_heads,
        size=case.size,
        slots=case.slots,
        start=case.start or 0,
        mask_stride=case.slots,
        scale=case.size**-0.5,
        causal=case.start is not None,
        codes=keys_SKE.dtype == np.int8,
    )
    library.tinyaya_attend(c.byref(call))
    return y_THE


def defined(
    case: Case, q_THE: NDArray, keys_SKE: NDArray, values_SKE: NDArray, mask_TS: NDArray | None
) -> NDArray:
    group = case.heads // case.kv_heads
    q, keys, values = (x.astype(np.float64) for x in (q_THE, keys_SKE, values_SKE))
    keys_SHE, values_SHE = keys.repeat(group, 1), values.repeat(group, 1)
    scores_HTS = np.einsum("the,she->hts", q, keys_SHE) * case.size**-0.5
    if mask_TS is None:
        age = np.arange(case.tokens)[:, None] + case.start - np.arange(case.slots)
        mask_TS = np.where(age >= 0, 0.0, -np.inf)
    scores_HTS = scores_HTS + mask_TS
    weights_HTS = np.exp(scores_HTS - scores_HTS.max(-1, keepdims=True))
    weights_HTS /= weights_HTS.sum(-1, keepdims=True)
    return np.einsum("hts,she->the", weights_HTS, values_SHE)


@pytest.mark.parametrize("codes", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_attention_is_its_definition(
    library: c.CDLL, kernels: str, case: Case, codes: bool
) -> None:
    given = operands(case, codes)
    expected = defined(case, *given)
    assert np.abs(attend(library, case, *given) - expected).max() < NEAR * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_any_number_of_threads_gives_the_same_bits(library: c.CDLL, case: Case) -> None:
    given = operands(case, codes=False)
    results = []
    for threads in (1, 2, 3):
        assert library.tinyaya_threads(threads) == threads
        results.append(attend(library, case, *given))
    library.tinyaya_threads(1)
    for one, other in pairwise(results):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("tokens", [1, 70])
def test_keys_that_a_mask_hides_may_be_anything(library: c.CDLL, kernels: str, tokens: int) -> None:
    case = Case(tokens=tokens, slots=300, start=None)
    q_THE, keys_SKE, values_SKE, mask_TS = operands(case, codes=False)
    assert mask_TS is not None
    expected = attend(library, case, q_THE, keys_SKE, values_SKE, mask_TS)
    keys_SKE[64:128], values_SKE[64:128] = np.nan, 1e30
    np.testing.assert_array_equal(
        attend(library, case, q_THE, keys_SKE, values_SKE, mask_TS), expected
    )


def test_scores_far_apart_do_not_overflow(library: c.CDLL, kernels: str) -> None:
    case = Case(tokens=2, slots=200, start=150)
    q_THE, keys_SKE, values_SKE, _ = operands(case, codes=False)
    given = (100 * q_THE, 100 * keys_SKE, values_SKE, None)
    expected = defined(case, *given)
    assert np.abs(attend(library, case, *given) - expected).max() < 1e-3
