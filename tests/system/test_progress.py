"""Long work says how far it is where no terminal is, too."""

import sys
from threading import Event

import pytest

from tinyaya.export.system.progress_bar import shown_progress

EVERY_S = 0.02


class Told:
    """Stands for stderr; says when a line with certain words has come."""

    def __init__(self, words: str) -> None:
        self.text, self._words, self.came = "", words, Event()

    def write(self, text: str) -> None:
        self.text += text
        if self._words in self.text:
            self.came.set()

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("total", "steps", "words"),
    [(None, 0, "lower, 0:00:0"), (4, 0, "lower, step 0 of 4, 0:00:0"), (4, 1, "left\n")],
)
def test_a_stage_that_goes_on_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, total: int | None, steps: int, words: str
) -> None:
    told = Told(words)
    monkeypatch.setattr(sys, "stderr", told)
    with shown_progress(EVERY_S) as progress:
        progress.stage("first")
        advance = progress.stage("onnx: lower", total)
        for _ in range(steps):
            advance()
        assert told.came.wait(60), told.text
    silent = len(told.text)
    assert "first" not in told.text or told.text.index("first") < told.text.index("lower")
    assert len(told.text) == silent


def test_short_work_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told("any")
    monkeypatch.setattr(sys, "stderr", told)
    with shown_progress() as progress:
        progress.stage("quantize", 3)()
        progress.note("said at once")
    assert told.text.strip() == "note: said at once"
