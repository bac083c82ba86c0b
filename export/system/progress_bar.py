"""Shows stages of long work: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from tinyaya.runtime.progress import Advance, Progress, Silent

_LINE_EVERY_S = 30


class _Shown:
    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("start", total=None)

    def stage(self, name: str, total: int | None = None, *, unit: str = "") -> Advance:
        """See `Progress`."""
        self._bars.remove_task(self._task)
        self._task = task = self._bars.add_task(name, total=total, unit=unit)
        return lambda steps=1: self._bars.advance(task, steps)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._bars.console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)


class _Amount(DownloadColumn):
    """How many bytes of how many; nothing where a step is something else."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields.get("unit") == "B" else Text()


class _Lines:
    """Prints bytes that have come and the time left, at first, at last and now and then."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._done = name, total, 0
        self._begun = self._told = time.monotonic()
        self._print("")

    def __call__(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        if self._done < self._total and now - self._told < _LINE_EVERY_S:
            return
        self._told = now
        left_s = (self._total - self._done) * (now - self._begun) / max(self._done, 1)
        self._print(f", {left_s / 60:.0f} minutes left" if left_s > 0 else "")

    def _print(self, left: str) -> None:
        amount = f"{self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB"
        print(f"{self._name}: {amount}{left}", file=sys.stderr)  # noqa: T201


class _Notes(Silent):
    def stage(self, name: str, total: int | None = None, *, unit: str = "") -> Advance:
        """See `Progress`; only bytes, which the network brings slowly, are told of."""
        return _Lines(name, total) if unit == "B" and total else super().stage(name, total)

    def note(self, text: str) -> None:
        """See `Progress`."""
        print(f"note: {text}", file=sys.stderr)  # noqa: T201


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress on stderr with the stage's name and the time left; notes and bytes elsewhere."""
    if not sys.stderr.isatty():
        yield _Notes()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(),
        _Amount(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Shown(bars)
