"""A session feeds chunks, keeps its position, and refuses before any work."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from tiny_bundle import CONTEXT, UNUSED, ScriptedEngine

from tinyaya.runtime import EmptyPromptError, PromptError, PromptTooLongError, RewindError, Session
from tinyaya.runtime.manifest import Preamble

MakeSession = Callable[..., Session]


def engine_of(session: Session) -> ScriptedEngine:
    return cast(ScriptedEngine, session._engine)


@pytest.mark.parametrize(
    ("count", "calls"),
    [
        (1, [(1, 0)]),
        (4, [(4, 0)]),
        (5, [(4, 0), (1, 4)]),
        (11, [(4, 0), (4, 4), (3, 8)]),
        (CONTEXT, [(4, start) for start in range(0, CONTEXT, 4)]),
    ],
)
def test_a_prompt_is_fed_in_chunks(
    scripted: MakeSession, count: int, calls: list[tuple[int, int]]
) -> None:
    session, done = scripted(), []
    session.prefill([9] * count, done.append)
    assert engine_of(session).calls == calls
    assert session.position == count == done[-1]
    assert done == [position + length for length, position in calls]


def test_a_prompt_starts_from_the_preamble(scripted: MakeSession) -> None:
    session, done = scripted(), []
    ids = (2, 9, 8, 7, 6)
    session.manifest = replace(session.manifest, preamble=Preamble(ids=ids))
    session.prefill(np.array([*ids, *[5] * 6]), done.append)  # type: ignore[arg-type]
    assert engine_of(session).calls == ["restore", (4, 5), (2, 9)]
    assert done == [5, 9, 11] and session.position == 11
    for prompt in ([*ids], [2, 9, 8, 7, 5, 5], [2]):
        session.reset()
        session.prefill(prompt)
        assert engine_of(session).calls[-1 - (len(prompt) > 4)] == (min(4, len(prompt)), 0)
    session.prefill([*ids, 5])  # not at position 0
    assert engine_of(session).calls.count("restore") == 1


def test_a_second_prompt_goes_on(scripted: MakeSession) -> None:
    session = scripted()
    session.prefill([9] * 5)
    session.step(9)
    session.prefill(np.array([9] * 6))  # type: ignore[arg-type]
    assert engine_of(session).calls == [(4, 0), (1, 4), (1, 5), (4, 6), (2, 10)]
    session.reset()
    session.step(9)
    assert engine_of(session).calls[-1] == (1, 0)


def test_logits_are_those_of_the_last_token_without_unused_ids(scripted: MakeSession) -> None:
    logits_V = scripted([7], start=6).prefill([9] * 6)
    assert logits_V.argmax() == 7
    assert np.isneginf(logits_V[slice(*UNUSED)]).all()
    assert np.isfinite(logits_V[: UNUSED[0]]).all()


def test_what_does_not_fit_is_refused_before_any_work(scripted: MakeSession) -> None:
    session = scripted()
    with pytest.raises(PromptTooLongError, match=f"{CONTEXT + 1} tokens .* context of {CONTEXT}"):
        session.prefill([9] * (CONTEXT + 1))
    assert engine_of(session).calls == []
    session.prefill([9] * (CONTEXT - 1))
    with pytest.raises(PromptTooLongError, match=f"holds {CONTEXT - 1} of"):
        session.prefill([9, 9])
    session.step(9)
    assert session.room == 0
    with pytest.raises(PromptTooLongError):
        session.step(9)
    assert session.position == CONTEXT


def test_no_tokens(scripted: MakeSession) -> None:
    with pytest.raises(EmptyPromptError):
        scripted().prefill([])


@pytest.mark.parametrize("token", [-1, 264, 10**12])
def test_ids_outside_the_vocabulary(scripted: MakeSession, token: int) -> None:
    session = scripted()
    with pytest.raises(PromptError, match="expected 0 to 263"):
        session.prefill([9] * 8 + [token])
    assert engine_of(session).calls == []


def test_a_cancelled_prefill_stops_after_a_chunk(scripted: MakeSession) -> None:
    def cancel(done: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    session = scripted()
    with pytest.raises(KeyboardInterrupt):
        session.prefill([9] * 20, cancel)
    assert session.position == 8


def test_rewind(scripted: MakeSession) -> None:
    session = scripted()
    session.prefill([9] * 10)
    session.rewind(6)
    session.step(9)
    assert engine_of(session).calls[-1] == (1, 6)
    engine_of(session).rewindable = False
    session.rewind(7)
    with pytest.raises(RewindError, match=r"position 5 needs keys .* to 7"):
        session.rewind(5)
    assert session.position == 7


@pytest.mark.parametrize("position", [-1, 11])
def test_rewind_to_where_it_never_was(scripted: MakeSession, position: int) -> None:
    session = scripted()
    session.prefill([9] * 10)
    with pytest.raises(RewindError, match="expected 0 to 10"):
        session.rewind(position)
