"""Watches a machine at work: logs frequency, heat and power, and whether it was held back.

The log is made by a thread of the process that waits for the one that is measured.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import numpy as np

from tinyaya.benchmarks.speed.conditions.sensors import Reading, Sensors

INTERVAL_S = 0.25
_MAX_LOG_ROWS = 120  # kept of a log, at most
_MIN_FREQUENCY_SHARE = 0.75  # of the highest; all cores at once may run below it by design
_MIN_READINGS = 4  # within a span, to say something of it


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """One moment: the slowest frequency of the cores used, the hottest sensor, the power."""

    at_s: float
    hz: float | None
    celsius: float | None
    watts: float | None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the machine was like while one contender was measured.

    share_of_max_hz: of the highest frequency, in the median. throttled: any of `reasons`.
    energy: what it was measured with; joules_per_token: test -> of the whole of that.
    """

    seconds: float
    start_celsius: float | None
    top_celsius: float | None
    share_of_max_hz: float | None
    throttled: bool
    reasons: tuple[str, ...]
    energy: str | None
    joules_per_token: Mapping[str, float]
    log: tuple[LogRow, ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """When a test ran, by the clock of `time.monotonic`, and how many tokens it took."""

    start_s: float
    end_s: float
    tokens: int


def parse_conditions(raw: Mapping[str, Any] | None) -> Conditions | None:
    """The Conditions that `asdict` and JSON made `raw` of."""
    if raw is None:
        return None
    rows = tuple(LogRow(**row) for row in raw["log"])
    return Conditions(**{**raw, "reasons": tuple(raw["reasons"]), "log": rows})


class Watch:
    """Reads sensors every INTERVAL_S, from its beginning to its end, whatever happens between."""

    def __init__(self, sensors: Sensors, interval_s: float = INTERVAL_S) -> None:
        self.readings: list[Reading] = []
        self._sensors, self._interval_s = sensors, interval_s
        self._done = Event()
        self._thread = Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Self:
        """Read once, and go on."""
        self._read()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Read a last time."""
        self._done.set()
        self._thread.join()
        self._read()

    def conditions(self, max_hz: Mapping[int, float], spans: Mapping[str, Span]) -> Conditions:
        """What was seen; max_hz: highest frequency by cpu, spans: of each test."""
        return judge(self.readings, max_hz, spans, self._sensors.energy)

    def _go_on(self) -> None:
        while not self._done.wait(self._interval_s):
            self._read()

    def _read(self) -> None:
        self.readings.append(self._sensors.read(time.monotonic()))


def judge(
    readings: Sequence[Reading],
    max_hz: Mapping[int, float],
    spans: Mapping[str, Span],
    energy: str | None,
) -> Conditions:
    """Conditions of at least one reading."""
    start = min((span.start_s for span in spans.values()), default=readings[0].at_s)
    busy = [reading for reading in readings if reading.at_s >= start] or list(readings)
    share = _share(busy, max_hz)
    reasons = tuple(dict.fromkeys(_reasons(readings, share)))
    rows = _log(readings)
    heats = [row.celsius for row in rows if row.celsius is not None]
    spent = {test: energy_per_token(readings, span) for test, span in spans.items()}
    return Conditions(
        seconds=readings[-1].at_s - readings[0].at_s,
        start_celsius=heats[0] if heats else None,
        top_celsius=max(heats, default=None),
        share_of_max_hz=share,
        throttled=bool(reasons),
        reasons=reasons,
        energy=energy,
        joules_per_token={test: value for test, value in spent.items() if value is not None},
        log=tuple(rows)[:: -(-len(rows) // _MAX_LOG_ROWS)] if any(map(_tells, rows)) else (),
    )


def energy_per_token(readings: Sequence[Reading], span: Span) -> float | None:
    """Joules a token of `span`; None where too few readings fall into it."""
    times, joules = _spent(readings)
    inside = (times >= span.start_s) & (times <= span.end_s)
    if inside.sum() < _MIN_READINGS or not span.tokens:
        return None
    first, last = np.interp([span.start_s, span.end_s], times, joules).tolist()
    return float(last - first) / span.tokens


def _spent(readings: Sequence[Reading]) -> tuple[Any, Any]:
    """Times and joules spent until then: as counted, or power summed over time."""
    counted = [reading for reading in readings if reading.joules is not None]
    if counted:
        return np.array([one.at_s for one in counted]), np.array([one.joules for one in counted])
    metered = [reading for reading in readings if reading.watts is not None]
    times = np.array([one.at_s for one in metered])
    watts = np.array([one.watts for one in metered], dtype=float)
    steps = np.diff(times) * (watts[1:] + watts[:-1]) / 2
    return times, np.concatenate([[0.0], np.cumsum(steps)])[: len(times)]


def _share(readings: Sequence[Reading], max_hz: Mapping[int, float]) -> float | None:
    shares = [
        min(reading.hz[cpu] / max_hz[cpu] for cpu in known)
        for reading in readings
        if (known := reading.hz.keys() & max_hz.keys())
    ]
    return median(shares) if len(shares) >= _MIN_READINGS else None


def _reasons(readings: Sequence[Reading], share: float | None) -> Iterator[str]:
    first, last = readings[0], readings[-1]
    for reading in readings:
        yield from (name for name, state in reading.states.items() if state)
        for cpu, hz in reading.limit_hz.items():
            if hz < first.limit_hz.get(cpu, 0.0):
                yield f"the limit of cpu{cpu}'s frequency was lowered"
    if any(count > first.counts.get(name, count) for name, count in last.counts.items()):
        yield "the processor counted throttling"
    if share is not None and share < _MIN_FREQUENCY_SHARE:
        yield f"cores ran at {share:.0%} of their highest frequency"


def _log(readings: Sequence[Reading]) -> list[LogRow]:
    start, rows = readings[0].at_s, []
    for before, reading in zip([None, *readings], readings, strict=False):
        rows.append(
            LogRow(
                at_s=round(reading.at_s - start, 3),
                hz=min(reading.hz.values(), default=None),
                celsius=max(reading.celsius.values(), default=None),
                watts=reading.watts if reading.joules is None else _watts(before, reading),
            )
        )
    return rows


def _tells(row: LogRow) -> bool:
    return not (row.hz is None and row.celsius is None and row.watts is None)


def _watts(before: Reading | None, reading: Reading) -> float | None:
    if before is None or before.joules is None or reading.joules is None:
        return None
    passed = reading.at_s - before.at_s
    return (reading.joules - before.joules) / passed if passed > 0 else None
