"""Shows stages of long work: a bar on a terminal, lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from tinyaya.runtime.progress import Advance, Progress, Silent


class _Shown:
    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("start", total=None)

    def stage(self, name: str, total: int | None = None) -> Advance:
        """See `Progress`."""
        self._bars.remove_task(self._task)
        self._task = task = self._bars.add_task(name, total=total)
        return lambda: self._bars.advance(task)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._bars.console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)


class _Notes(Silent):
    def note(self, text: str) -> None:
        """See `Progress`."""
        print(f"note: {text}", file=sys.stderr)  # noqa: T201


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress on stderr with the stage's name and the time left; notes alone elsewhere."""
    if not sys.stderr.isatty():
        yield _Notes()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Shown(bars)
