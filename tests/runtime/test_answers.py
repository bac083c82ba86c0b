"""Answers end at stop strings, report alternatives, and keep to penalties."""

from collections.abc import Callable

import numpy as np
import pytest
from tiny_bundle import BOS, EOS, UNUSED, byte_ids

from tinyaya.runtime import (
    AnswerOptions,
    Generation,
    OptionError,
    Penalties,
    Sampler,
    SamplingError,
    Session,
    Token,
    drain,
    generate,
)
from tinyaya.runtime.sampling import alternatives

MakeSession = Callable[..., Session]
PROMPT = [BOS, 9, 9]


def run(
    session: Session, sampler: Sampler | None = None, **options: object
) -> tuple[list[Token], Generation]:
    seen: list[Token] = []
    tokens = generate(
        session,
        PROMPT,
        max_tokens=20,
        sampler=sampler or Sampler(),
        options=AnswerOptions(**options),  # type: ignore[arg-type]
    )
    generation = drain(tokens, seen.append)
    assert "".join(token.text for token in seen) == generation.text
    assert tuple(token.id for token in seen) == generation.token_ids
    return seen, generation


def test_a_stop_string_across_tokens_ends_the_answer(scripted: MakeSession) -> None:
    seen, generation = run(scripted(byte_ids("one. two"), start=3), stop=("e. t", "zzz"))
    assert (generation.text, generation.stop_reason) == ("on", "stop_string")
    assert [token.text for token in seen] == ["o", "n", "", "", "", ""]


def test_text_that_only_began_a_stop_string_is_given_in_the_end(scripted: MakeSession) -> None:
    _, generation = run(scripted([*byte_ids("one. "), EOS], start=3), stop=("e. t",))
    assert (generation.text, generation.stop_reason) == ("one. ", "stop_token")


def test_a_stop_string_within_a_character_waits_for_it(scripted: MakeSession) -> None:
    _, generation = run(scripted([*byte_ids("a日b"), EOS], start=3), stop=("日",))
    assert (generation.text, generation.stop_reason) == ("a", "stop_string")


def test_alternatives_are_the_models_own(scripted: MakeSession) -> None:
    sampler = Sampler(penalties=Penalties(bias={9: 100.0}))
    seen, _ = run(scripted(), sampler, alternatives=3)
    assert [len(token.alternatives) for token in seen] == [3] * len(seen)
    first = seen[0]
    assert first.id == 9  # the bias chose it; the model wants "x"
    assert first.alternatives[0].id == byte_ids("x")[0]
    assert first.alternatives[0].log_probability == pytest.approx(0, abs=1e-6)
    assert first.log_probability == pytest.approx(-50, abs=1e-3)


def test_log_probabilities_are_a_distribution() -> None:
    logits_V = np.random.default_rng(0).normal(size=300).astype(np.float32)
    logits_V[5] = -np.inf
    found = alternatives(logits_V, 300)
    assert len(found) == 299
    assert sum(np.exp(item.log_probability) for item in found) == pytest.approx(1, abs=1e-5)
    assert [item.id for item in found[:3]] == np.argsort(-logits_V)[:3].tolist()


@pytest.mark.parametrize("bad", [-1, 101])
def test_alternatives_out_of_range(bad: int) -> None:
    with pytest.raises(OptionError, match="alternatives"):
        AnswerOptions(alternatives=bad)


def test_frequency_penalty_counts_in_the_answer_and_presence_once() -> None:
    logits_V = np.array([2.0, 1.9, 1.0], np.float32)
    sampler = Sampler(penalties=Penalties(frequency=0.06))
    sampler.begin([0, 0, 0])  # of a prompt nothing is counted
    assert sampler.sample(logits_V) == 0
    sampler.accept(0)
    assert sampler.sample(logits_V) == 0
    sampler.accept(0)
    assert sampler.sample(logits_V) == 1
    presence = Sampler(penalties=Penalties(presence=0.06))
    presence.begin([])
    presence.accept(0)
    presence.accept(0)
    assert presence.sample(logits_V) == 0


def test_repetition_penalty_counts_prompt_and_answer_and_both_signs() -> None:
    sampler = Sampler(penalties=Penalties(repetition=2.0))
    sampler.begin([0])
    assert sampler.sample(np.array([3.0, 2.0], np.float32)) == 1
    sampler.begin([1])
    assert sampler.sample(np.array([-3.0, -2.0], np.float32)) == 0
    sampler.begin([])
    assert sampler.sample(np.array([3.0, 2.0], np.float32)) == 0
    sampler.accept(0)
    assert sampler.sample(np.array([3.0, 2.0], np.float32)) == 1


def test_a_bias_forbids_but_never_allows_an_id_without_token(scripted: MakeSession) -> None:
    wanted = byte_ids("x")[0]
    bias = {wanted: float("-inf"), UNUSED[0]: 1e9}
    seen, _ = run(scripted(), Sampler(penalties=Penalties(bias=bias)))
    assert not {token.id for token in seen} & {wanted, UNUSED[0]}


def test_a_bias_outside_the_vocabulary(scripted: MakeSession) -> None:
    with pytest.raises(SamplingError, match="id 264; expected 0 to 263"):
        run(scripted(), Sampler(penalties=Penalties(bias={264: 1.0})))


def test_sampling_does_not_change_the_logits() -> None:
    logits_V = np.array([3.0, 2.0], np.float32)
    Sampler(penalties=Penalties(bias={0: -5.0})).sample(logits_V)
    assert logits_V.tolist() == [3.0, 2.0]


@pytest.mark.parametrize("top_p", [1.0, 0.999])
def test_min_p_keeps_what_is_likely_enough(top_p: float) -> None:
    logits_V = np.log(np.array([0.5, 0.26, 0.24], np.float32))
    sampler = Sampler(temperature=1.0, min_p=0.5, top_p=top_p)
    assert {sampler.sample(logits_V) for _ in range(300)} == {0, 1}
    assert {Sampler(temperature=1.0, min_p=1.0).sample(logits_V) for _ in range(50)} == {0}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"repetition": 0.0}, "repetition"),
        ({"frequency": float("nan")}, "frequency"),
        ({"presence": float("inf")}, "presence"),
        ({"bias": {3: float("nan")}}, "bias of id 3"),
        ({"bias": {-3: 1.0}}, "bias of id -3"),
    ],
)
def test_penalties_out_of_range(values: dict, words: str) -> None:
    with pytest.raises(SamplingError, match=words):
        Penalties(**values)
    with pytest.raises(SamplingError, match="min_p"):
        Sampler(min_p=1.5)
