"""Answers with guesses are those without, on the real programs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from export.backends import BACKENDS
from export.backends import executorch as executorch_backend
from export.backends import runner_methods as methods
from export.checkpoint import Checkpoint
from runtime import AnswerOptions, OptionError, Sampler, drain, generate, open_bundle
from runtime.lookup import Lookup, _Pace
from tests.conftest import UDHR
from tests.programs.conftest import LIMITS, MakeBundle, fed, opened


@pytest.mark.l3
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_row_is_what_a_step_of_its_own_gives(
    tiny: Checkpoint, ids: list[int], backend: str, make_bundle: MakeBundle
) -> None:
    """Before and past the window's edge, and after some of the rows were taken back."""
    session = opened(make_bundle(tiny, backend))
    assert session.guesses == LIMITS.chunk
    alone = fed(session, ids, [1] * LIMITS.context)
    session.reset()
    for count, kept in ((2, 2), (4, 1), (3, 2), (4, 4), (1, 1), (4, 0), (4, 3), (2, 1), (4, 4)) * 2:
        start = session.position
        rows = session.step_rows(ids[start : start + count])
        assert len(rows) == count
        for offset, logits_V in enumerate(rows):
            np.testing.assert_allclose(logits_V, alone[start + offset], atol=1e-4)
        session.rewind(start + kept)


@pytest.mark.l3
def test_a_long_step_of_a_pte_tells_of_its_last_position(
    tiny: Checkpoint, ids: list[int], make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows for two tokens: steps of three and four cost the head no more than one does."""
    monkeypatch.setattr(methods, "LOGIT_ROWS", 2)
    session = opened(make_bundle(tiny, "executorch"))
    assert session.guesses == 2
    sizes = [session._engine._run(ids[:count], 0).shape[0] for count in (1, 2, 3, 4)]
    assert sizes == [1, 2, 1, 1]


@pytest.mark.l3
def test_a_pte_that_tells_of_one_position_runs_and_refuses_guesses(
    tiny: Checkpoint, ids: list[int], make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they were exported before: one row, and no constant that says otherwise."""
    monkeypatch.setattr(executorch_backend, "told_rows", lambda count, rows: 1)
    plain = methods.runner_methods

    def without_rows(*args: object) -> dict[str, object]:
        found = plain(*args)
        del found[methods.ROWS_METHOD]
        return found

    monkeypatch.setattr(executorch_backend, "runner_methods", without_rows)
    session = opened(make_bundle(tiny, "executorch"))
    assert session.guesses == 1
    assert session._engine._run(ids[:4], 0).shape[0] == 1
    session.prefill(ids[:6])
    with pytest.raises(OptionError, match="last token of a step alone"):
        Lookup(session, 3)


@pytest.mark.l3
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("language", ["en", "sw", "hi"])
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_guesses_change_no_token(
    bundles: Mapping[str, Path],
    backend: str,
    language: str,
    temperature: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_Pace, "allowed", lambda self, most: most)  # however long steps take here
    session = open_bundle(bundles[backend]).session(threads=1)
    text = (UDHR / f"{language}.txt").read_text(encoding="utf-8")[:300] * 2
    answers = []
    for ahead in (0, 4):
        session.reset()
        tokens = generate(
            session,
            session.tokenizer.encode(text),
            max_tokens=120,
            sampler=Sampler(temperature=0.0),
            options=AnswerOptions(speculate=ahead),
        )
        answers.append(drain(tokens))
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[0].text == answers[1].text
