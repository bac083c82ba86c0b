"""Shows stages of long work: a bar on a terminal, now and then a line elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from time import monotonic

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

from tinyaya.runtime.progress import Advance, Progress

_LINE_EVERY_S = 30.0
_SPEED_PERIOD_S = 3600.0  # steps of a calibration take minutes


class _Amount(DownloadColumn):
    """How many steps or bytes of how many; nothing where that is unknown."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text()
        if task.fields.get("unit") == "B":
            return super().render(task)
        return Text(f"{task.completed:.0f}/{task.total:.0f}")


class _Bars:
    """On a terminal."""

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


class _Lines:
    """For logs: a line whenever a stage has gone on for another `every_s` seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s, self._ended = every_s, Event()
        self.stage("start")
        self._thread = Thread(target=self._tell, daemon=True)
        self._thread.start()

    def stage(self, name: str, total: int | None = None, *, unit: str = "") -> Advance:
        """See `Progress`; a download is told of when it begins, too."""
        self._name, self._total, self._unit = name, total, unit
        self._done, self._started = 0, monotonic()
        if unit == "B":
            self._print(0)
        return self._advance

    def _advance(self, steps: int = 1) -> None:
        self._done += steps

    def note(self, text: str) -> None:
        """See `Progress`."""
        print(f"note: {text}", file=sys.stderr)  # noqa: T201

    def _tell(self) -> None:
        while not self._ended.wait(self._every_s):
            if (passed_s := monotonic() - self._started) >= self._every_s:
                self._print(passed_s)

    def _print(self, passed_s: float) -> None:
        words = [self._name]
        if self._total and self._unit == "B":
            words.append(f"{self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB")
        elif self._total:
            words.append(f"step {self._done} of {self._total}")
        words.append(_clock(passed_s))
        if self._total and self._done:
            left_s = passed_s * (self._total - self._done) / self._done
            words.append(f"about {_clock(left_s)} left")
        print(*words, sep=", ", file=sys.stderr, flush=True)  # noqa: T201

    def end(self) -> None:
        """Say no more."""
        self._ended.set()
        self._thread.join()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def shown_progress(line_every_s: float = _LINE_EVERY_S) -> Iterator[Progress]:
    """Progress on stderr with the stage's name, its steps or bytes, and the time left."""
    if not sys.stderr.isatty():
        lines = _Lines(line_every_s)
        try:
            yield lines
        finally:
            lines.end()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(),
        _Amount(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        speed_estimate_period=_SPEED_PERIOD_S,
    ) as bars:
        yield _Bars(bars)
