"""Compares results files of machines on one HTML page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyaya.benchmarks.speed.any_file import ResultFile, Timeline
from tinyaya.benchmarks.speed.conditions.watch import LogRow
from tinyaya.export.pages.render import render

_COLOURS = ("#2f6fd0", "#d9772b", "#2f9e6b", "#a04fc4", "#c63d5b", "#8a7a1f", "#1d95a8", "#6b6f76")
_PLOT_WIDTH, _PLOT_HEIGHT = 640, 110  # of a timeline, in its own units
_GIGA = 1e9


@dataclass(frozen=True, kw_only=True)
class _Bar:
    """One contender in one test; the last four are percent of the chart's width."""

    colour: str
    machine: str
    label: str
    row: Mapping[str, Any]
    width: float
    q1: float
    q3: float


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A quantity over time; points: as SVG's polyline has them. low and high: its range."""

    name: str
    points: str
    low: str
    high: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class _Plot:
    """All rounds of one machine, end to end; breaks: where a round begins, in the plot's units."""

    machine: str
    seconds: float
    lines: tuple[_Line, ...]
    breaks: tuple[float, ...]
    reasons: tuple[str, ...]


def render_comparison(found: Sequence[ResultFile]) -> str:
    """The page of at least one file."""
    colours = [_COLOURS[index % len(_COLOURS)] for index in range(len(found))]
    columns = _language_columns(found, colours)
    return render(
        "tinyaya.benchmarks.speed",
        files=list(zip(found, colours, strict=True)),
        charts=list(_charts(found, colours)),
        columns=columns,
        languages=_language_table(found, columns),
        plots=[plot for file in found if (plot := _plot(file))],
        width=_PLOT_WIDTH,
        height=_PLOT_HEIGHT,
    )


def write_comparison(path: Path, found: Sequence[ResultFile]) -> None:
    """Write the page to `path`."""
    path.write_text(render_comparison(found), encoding="utf-8")


_Found = tuple[ResultFile, str, Mapping[str, Any]]  # a row, and where it is from, in what colour


def _charts(
    found: Sequence[ResultFile], colours: Sequence[str]
) -> Iterator[tuple[str, list[tuple[str, list[_Bar]]]]]:
    """Writing first, which is what one waits for; each title: test -> bars, the fastest first."""
    pairs = zip(found, colours, strict=True)
    rows = [(file, colour, row) for file, colour in pairs for row in file.rows]
    writing = [one for one in rows if one[2]["n_gen"]]
    reading = [one for one in rows if not one[2]["n_gen"]]
    for title, chosen in (("Writing", writing), ("Reading prompts", reading)):
        tests: dict[str, list[_Found]] = {}
        for one in sorted(chosen, key=lambda one: (one[2]["n_depth"], one[2]["n_prompt"])):
            tests.setdefault(one[2]["test"], []).append(one)
        if tests:
            yield title, [(test, _bars(those)) for test, those in tests.items()]


def _bars(rows: Sequence[_Found]) -> list[_Bar]:
    """Of one test, on one scale."""
    most = max(max(row["q3_ts"], row["median_ts"]) for _, _, row in rows)
    ordered = sorted(rows, key=lambda one: -one[2]["median_ts"])
    return [
        _Bar(
            colour=colour,
            machine=file.title,
            label=row["label"],
            row=row,
            width=100 * row["median_ts"] / most,
            q1=100 * row["q1_ts"] / most,
            q3=100 * row["q3_ts"] / most,
        )
        for file, colour, row in ordered
    ]


@dataclass(frozen=True, kw_only=True)
class _Column:
    """One contender that has languages; rates: characters a second by language."""

    colour: str
    machine: str
    label: str
    threads: int
    rates: Mapping[str, float]


def _language_columns(found: Sequence[ResultFile], colours: Sequence[str]) -> list[_Column]:
    columns = []
    for file, colour in zip(found, colours, strict=True):
        for label, threads in dict.fromkeys((row.label, row.n_threads) for row in file.languages):
            mine = [row for row in file.languages if (row.label, row.n_threads) == (label, threads)]
            rates = {row.code: row.decode_characters_per_s for row in mine}
            columns.append(
                _Column(
                    colour=colour,
                    machine=file.title,
                    label=label,
                    threads=threads,
                    rates={code: rate for code, rate in rates.items() if rate},
                )
            )
    return columns


def _language_table(
    found: Sequence[ResultFile], columns: Sequence[_Column]
) -> list[dict[str, Any]]:
    """A row a language: characters a second, and their percent of the column's most."""
    most = [max(column.rates.values(), default=1.0) for column in columns]
    known = {row.code: row for file in found for row in file.languages}
    table = [
        {
            "code": code,
            "name": row.name,
            "tokens": row.tokens_to_english,
            "rates": [
                (one.rates.get(code), 100 * one.rates.get(code, 0.0) / best)
                for one, best in zip(columns, most, strict=True)
            ],
        }
        for code, row in known.items()
    ]
    return sorted(table, key=lambda row: str(row["name"]))


def _plot(file: ResultFile) -> _Plot | None:
    """None where no sensor said anything."""
    start, rows, breaks = 0.0, [], []
    for timeline in file.timelines:
        breaks.append(start)
        rows += [(start + row.at_s, row) for row in timeline.rows]
        start += max((row.at_s for row in timeline.rows), default=0.0)
    if not rows or not start:
        return None
    lines = tuple(line for kind in _PLOTTED_QUANTITIES if (line := _line(kind, rows, start)))
    return _Plot(
        machine=file.title,
        seconds=start,
        lines=lines,
        breaks=tuple(round(_PLOT_WIDTH * at / start, 1) for at in breaks[1:]),
        reasons=_reasons(file.timelines),
    )


def _reasons(timelines: Sequence[Timeline]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for one in timelines for reason in one.reasons))


_PLOTTED_QUANTITIES = (
    ("frequency", "hz", _GIGA, "GHz"),
    ("temperature", "celsius", 1.0, "°C"),
    ("power", "watts", 1.0, "W"),
)


def _line(
    kind: tuple[str, str, float, str], rows: Sequence[tuple[float, LogRow]], seconds: float
) -> _Line | None:
    name, attribute, unit, symbol = kind
    values = [
        (at, getattr(row, attribute) / unit)
        for at, row in rows
        if getattr(row, attribute) is not None
    ]
    if not values:
        return None
    low, high = min(value for _, value in values), max(value for _, value in values)
    base = 0.0 if attribute == "hz" else low  # a frequency is seen as a share of the highest
    room = (high - base) or 1.0
    height = _PLOT_HEIGHT - 16
    points = " ".join(
        f"{_PLOT_WIDTH * at / seconds:.1f},{height + 8 - height * (value - base) / room:.1f}"
        for at, value in values
    )
    return _Line(
        name=name,
        points=points,
        low=f"{low:.3g} {symbol}",
        high=f"{high:.3g} {symbol}",
        kind=attribute,
    )
