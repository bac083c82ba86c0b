"""Generation: why it stops, what it yields, and that pieces, text and ids agree."""

from collections.abc import Callable

import pytest
from tiny_bundle import BOS, CONTEXT, EOS, TURN, UNUSED, ScriptedEngine, byte_ids

from tinyaya.runtime import (
    EmptyPromptError,
    Generation,
    OptionError,
    PromptTooLongError,
    Sampler,
    Session,
    Token,
    complete,
    generate,
)

MakeSession = Callable[..., Session]
PROMPT = [BOS, 9, 9]


def run(session: Session, max_tokens: int = 100) -> tuple[list[Token], Generation]:
    tokens = generate(session, PROMPT, max_tokens=max_tokens, sampler=Sampler())
    seen = []
    while True:
        try:
            seen.append(next(tokens))
        except StopIteration as end:
            generation: Generation = end.value
            assert "".join(token.text for token in seen) == generation.text
            assert tuple(token.id for token in seen) == generation.token_ids
            assert generation.text == session.tokenizer.decode(generation.token_ids)
            return seen, generation


@pytest.mark.parametrize("stop", [EOS, TURN])
def test_any_stop_token_ends_it_and_is_left_out(scripted: MakeSession, stop: int) -> None:
    session = scripted([*byte_ids("hé日"), stop], start=3)
    seen, generation = run(session)
    assert generation.stop_reason == "stop_token"
    assert generation.text == "hé日"
    assert generation.token_ids == tuple(byte_ids("hé日"))
    assert [token.text for token in seen] == ["h", "", "é", "", "", "日"]
    assert session.position == 3 + 6
    assert generation.prefill_ms > 0
    assert generation.decode_tokens_per_s > 0


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_character_cut_by_a_stop_token_goes_to_the_last_token(
    scripted: MakeSession, cut: int
) -> None:
    seen, generation = run(scripted([*byte_ids("日👧")[:-cut], EOS], start=3))
    assert generation.stop_reason == "stop_token"
    assert generation.text == ("日\ufffd" if cut < 4 else "日")
    assert seen[-1].text


def test_max_tokens(scripted: MakeSession) -> None:
    session = scripted()
    _, generation = run(session, max_tokens=5)
    assert (generation.stop_reason, generation.text) == ("max_tokens", "xxxxx")
    assert session.position == 3 + 4


def test_one_token_takes_no_step(scripted: MakeSession) -> None:
    seen, generation = run(scripted(byte_ids("日"), start=3), max_tokens=1)
    assert [token.text for token in seen] == ["\ufffd"]
    assert generation.decode_tokens_per_s == 0


def test_an_answer_that_stops_at_once(scripted: MakeSession) -> None:
    seen, generation = run(scripted([EOS], start=3))
    assert (seen, generation.token_ids, generation.text) == ([], (), "")


def test_the_context_fills_up(scripted: MakeSession) -> None:
    session = scripted()
    _, generation = run(session)
    assert generation.stop_reason == "context"
    assert session.position == CONTEXT
    assert len(generation.token_ids) == CONTEXT - 3 + 1


@pytest.mark.parametrize("temperature", [0.0, 5.0])
def test_ids_without_token_are_never_sampled(scripted: MakeSession, temperature: float) -> None:
    sampler = Sampler(temperature=temperature)
    for token in generate(scripted(), PROMPT, max_tokens=30, sampler=sampler):
        assert not UNUSED[0] <= token.id < UNUSED[1]


def test_refusals_come_before_any_work(
    scripted: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = scripted()
    monkeypatch.setattr(ScriptedEngine, "step", None)
    with pytest.raises(OptionError, match="max_tokens is 0"):
        next(generate(session, PROMPT, max_tokens=0, sampler=Sampler()))
    with pytest.raises(PromptTooLongError):
        next(generate(session, [9] * 41, max_tokens=1, sampler=Sampler()))
    with pytest.raises(EmptyPromptError):
        complete(session, "")


def test_complete_samples_as_the_bundle_says(scripted: MakeSession) -> None:
    seen: list[Token] = []
    session = scripted([*byte_ids("ok"), EOS], start=3)
    generation = complete(session, "hi", on_token=seen.append)
    assert generation.text == "ok" == "".join(token.text for token in seen)


def test_complete_adds_bos_only_to_a_new_session(scripted: MakeSession) -> None:
    session = scripted()
    complete(session, "hi", max_tokens=1)
    assert session.position == 3
    complete(session, "hi", max_tokens=1)
    assert session.position == 5
