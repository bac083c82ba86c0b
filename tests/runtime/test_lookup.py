"""Guessed tokens: the same answer in fewer steps, nothing left behind, and rest where it costs."""

from collections.abc import Callable
from itertools import count
from typing import cast

import numpy as np
import pytest
from tiny_bundle import BOS, CHUNK, EOS, ScriptedEngine, byte_ids

from tinyaya.runtime import (
    AnswerOptions,
    Generation,
    OptionError,
    Sampler,
    Session,
    drain,
    generate,
    lookup,
)

MakeSession = Callable[..., Session]
PROMPT = [BOS, *byte_ids("abcdefg.abc")]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedEngine, "rows", CHUNK)
    monkeypatch.setattr(lookup, "perf_counter", count().__next__)  # all steps take equally long


def calls(session: Session) -> list[tuple[int, int]]:
    return cast(ScriptedEngine, session._engine).calls


def run(session: Session, speculate: int, max_tokens: int = 12) -> Generation:
    options = AnswerOptions(speculate=speculate)
    tokens = generate(session, PROMPT, max_tokens=max_tokens, sampler=Sampler(), options=options)
    return drain(tokens)


@pytest.mark.parametrize("answer", ["defg.abcdefg", "defx.abcdexyz", "zzzzzz", "d", ""])
def test_the_answer_is_the_same(rows: None, scripted: MakeSession, answer: str) -> None:
    script = [*byte_ids(answer), EOS]
    plain = scripted(script, start=len(PROMPT))
    expected = run(plain, 0)
    guessed = scripted(script, start=len(PROMPT))
    found = run(guessed, 3)
    assert (found.token_ids, found.text, found.stop_reason) == (
        expected.token_ids, expected.text, expected.stop_reason,
    )  # fmt: skip
    assert guessed.ids == plain.ids


def test_a_copy_takes_fewer_steps(rows: None, scripted: MakeSession) -> None:
    session = scripted([*byte_ids("defg.abcdefg"), EOS], start=len(PROMPT))
    run(session, 3)
    steps = calls(session)[3:]  # after the prompt's chunks
    assert len(steps) < 8
    assert max(length for length, _ in steps) == CHUNK


def test_closing_the_generator_takes_guesses_back(rows: None, scripted: MakeSession) -> None:
    session = scripted([*byte_ids("defg.abcdefg"), EOS], start=len(PROMPT))
    options = AnswerOptions(speculate=3)
    tokens = generate(session, PROMPT, max_tokens=12, sampler=Sampler(), options=options)
    seen = [next(tokens).id for _ in range(4)]
    tokens.close()
    assert list(session.ids) == PROMPT + seen[:-1]


def test_nothing_is_guessed_that_could_not_be_taken_back(rows: None, scripted: MakeSession) -> None:
    session = scripted([*byte_ids("defg.abcdefg"), EOS], start=len(PROMPT))
    cast(ScriptedEngine, session._engine).rewindable = False
    run(session, 3)
    assert all(length == 1 for length, _ in calls(session)[3:])


def test_rows_in_doubt_are_stepped_alone(
    rows: None, scripted: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ScriptedEngine.step_rows

    def unsure(self: ScriptedEngine, ids: list[int], position: int) -> np.ndarray:
        logits_TV = right(self, ids, position)
        best = logits_TV[:, :200].argmax(1)
        logits_TV[np.arange(len(ids)), (best + 1) % 200] = 50.1  # the wrong one, but nearly so
        return logits_TV

    monkeypatch.setattr(ScriptedEngine, "step_rows", unsure)
    session = scripted([*byte_ids("defg.abcdefg"), EOS], start=len(PROMPT))
    assert run(session, 3, 99).text == "defg.abcdefg"


def test_programs_that_tell_of_one_position_refuse(scripted: MakeSession) -> None:
    with pytest.raises(OptionError, match="last token of a step alone"):
        run(scripted(), 3)
    with pytest.raises(OptionError, match="speculate is -1"):
        AnswerOptions(speculate=-1)


def test_an_id_that_leads_clearly_is_not_in_doubt() -> None:
    logits_V = np.full(9, -np.inf, np.float32)
    logits_V[3:5] = 4.0, 3.4
    assert not lookup._close(logits_V)
    logits_V[4] = 3.6
    assert lookup._close(logits_V)
