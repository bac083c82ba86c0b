"""Prints results as tables, and draws them as bars with quartile whiskers."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tinyaya.benchmarks.speed.any_file import ResultFile
from tinyaya.benchmarks.speed.rows import ContenderRow, Row, Spread, names, short_name
from tinyaya.benchmarks.speed.run_file import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_WITHOUT_TERMINAL = 120  # of what is not a terminal
_PANEL_WIDTH_IN, _PANEL_HEIGHT_IN = 5.0, 3.4
_GROUP_WIDTH = 0.84  # of the space between two tests


def print_files(files: Sequence[ResultFile]) -> None:
    """Print each file's machine, rates, characters a second of some languages, and warnings.

    MB are 10^6 bytes.
    """
    console = _console()
    for file in files:
        console.print(_machine_line(file.machine), highlight=False, markup=False)
        console.print(_rates(file.rows))
        for line in (*_language_lines(file), *_warnings(file)):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)


def _machine_line(machine: Mapping[str, Any]) -> str:
    reads = [
        f"{row['threads']} threads read {row['read_bytes_per_s'] / 1e9:.1f} GB/s"
        for row in machine.get("bandwidths", ())
    ]
    cores, memory = machine.get("cores"), machine.get("memory_bytes")
    sizes = [cores and f"{cores} cores", memory and f"{memory / 1e9:.1f} GB"]
    names = [machine.get("name"), machine.get("cpu"), *sizes]
    return ", ".join([str(name) for name in names if name] + reads)


def _language_lines(file: ResultFile) -> Iterator[str]:
    """English, the fastest and the slowest language of each contender."""
    keys = dict.fromkeys((row.label, row.n_threads) for row in file.languages)
    for key in keys:
        rates = {
            row.name: row.decode_characters_per_s
            for row in file.languages
            if (row.label, row.n_threads) == key and row.decode_characters_per_s
        }
        ordered = sorted(rates, key=lambda name: -rates[name])
        chosen = dict.fromkeys([name for name in ("English",) if name in rates])
        chosen |= dict.fromkeys([*ordered[:1], *ordered[-1:]])
        texts = ", ".join(f"{name} {rates[name]:.4g}" for name in chosen)
        if texts:
            yield f"writes characters a second, {key[0]}, {key[1]} threads: {texts}"


def _warnings(file: ResultFile) -> Iterator[str]:
    if not file.complete:
        yield f"unfinished: {file.name} does not hold all rounds; --resume goes on"
    for path, whys in file.skipped.items():
        yield from (f"skipped: {test} of {path}, which {why}" for test, why in whys.items())
    reasons = dict.fromkeys(reason for one in file.timelines for reason in one.reasons)
    for reason in reasons:
        yield f"throttled: {reason}"
    for row in file.rows:
        if row.get("throttled") and not reasons:
            yield f"throttled: {row['test']} of {row['label']}"


@dataclass(frozen=True, kw_only=True)
class _Bar:
    group: str
    path: str
    height: Spread


def plot_results(measured: Measured, path: Path) -> None:
    """Write a PNG: prefill, decode and memory side by side, a row of panels a thread count."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    contenders, rows = measured.contenders(), measured.rows()
    labels, counts = names(contenders), list(dict.fromkeys(row.n_threads for row in contenders))
    size = (3 * _PANEL_WIDTH_IN, _PANEL_HEIGHT_IN * len(counts) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    for panels, threads in zip(figure.subplots(len(counts), 3, squeeze=False), counts, strict=True):
        chosen = [row for row in rows if row.n_threads == threads]
        bars = {
            "prefill, tokens/s": [_rate_bar(row) for row in chosen if row.n_prompt],
            "decode, tokens/s": [_rate_bar(row) for row in chosen if row.n_gen],
            "memory, GB": [
                bar for row in contenders if row.n_threads == threads for bar in _memory_bars(row)
            ],
        }
        for panel, (title, drawn) in zip(panels, bars.items(), strict=True):
            _draw(panel, drawn, labels)
            panel.set_title(f"{title}; {threads} thread{'s' if threads > 1 else ''}")
    handles, texts = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=len(texts), frameon=False)
    figure.savefig(path, dpi=150)


def _rate_bar(row: Row) -> _Bar:
    group = f"prompt {row.n_prompt}" if row.n_prompt else f"context {row.n_depth}"
    height = Spread(median=row.median_ts, q1=row.q1_ts, q3=row.q3_ts)
    return _Bar(group=group, path=row.model_filename, height=height)


def _memory_bars(row: ContenderRow) -> list[_Bar]:
    kinds = {"resident": row.rss_bytes, "written": row.private_dirty_bytes}
    return [
        _Bar(
            group=group,
            path=row.model_filename,
            height=Spread(median=value.median / 1e9, q1=value.q1 / 1e9, q3=value.q3 / 1e9),
        )
        for group, value in kinds.items()
    ]


def _draw(panel: "Axes", bars: Sequence[_Bar], labels: Mapping[str, str]) -> None:
    """A group of bars a test, in it a bar a contender, each contender in its own colour."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    width = _GROUP_WIDTH / len(labels)
    for number, (path, label) in enumerate(labels.items()):
        mine = [bar for bar in bars if bar.path == path]
        heights = [bar.height for bar in mine]
        shift = (number - (len(labels) - 1) / 2) * width
        panel.bar(
            [groups.index(bar.group) + shift for bar in mine],
            [height.median for height in heights],
            width=width * 0.92,
            yerr=(
                [height.median - height.q1 for height in heights],
                [height.q3 - height.median for height in heights],
            ),
            capsize=2.5,
            error_kw={"elinewidth": 1},
            color=f"C{number}",
            label=label,
        )
    panel.set_xticks(range(len(groups)), groups)
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


# Heading, column of a row, how it is written, and in what unit; left out where no row has one.
_RATE_COLUMNS = (
    ("threads", "n_threads", "{:.0f}", 1.0),
    ("tok/s", "median_ts", "{:.4g}", 1.0),
    ("q1", "q1_ts", "{:.4g}", 1.0),
    ("q3", "q3_ts", "{:.4g}", 1.0),
    ("n", "n_samples", "{:.0f}", 1.0),
    ("to peer", "ratio", "{:.2f}", 1.0),
    ("1st ms", "ttft_ms", "{:.0f}", 1.0),
    ("Rss MB", "rss_bytes", "{:.0f}", 1e6),
    ("MB read\na token", "bytes_read_per_token", "{:.1f}", 1e6),
    ("of band-\nwidth", "share_of_bandwidth", "{:.0%}", 1.0),
    ("J a\ntoken", "joules_per_token", "{:.3g}", 1.0),
)


def _rates(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = [one for one in _RATE_COLUMNS if any(row.get(one[1]) is not None for row in rows)]
    table = Table(box=SIMPLE_HEAD)
    table.add_column("test", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=16)
    for heading, *_ in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        name = short_name(str(row.get("model_filename", "")))
        cells = (_figure(row.get(column), form, unit) for _, column, form, unit in shown)
        table.add_row(row["test"], name, *cells)
    return table


def _figure(value: float | None, form: str, unit: float = 1.0) -> str:
    return "" if value is None else form.format(value / unit)


def print_memory(file: ResultFile) -> None:
    """Print load times and memory of each contender."""
    _console().print(_memory(file.contenders))


def _memory(contenders: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", overflow="fold")
    columns = ("threads", "MB", "load\nms", "1st token\nms, cold", "Rss\nMB", "of it\nimports")
    for column in (*columns, "Pss\nMB", "dirty\nMB"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in contenders:
        sizes = ("rss_bytes", "imports_rss_bytes", "pss_bytes", "private_dirty_bytes")
        table.add_row(
            short_name(row["model_filename"]),
            str(row["n_threads"]),
            f"{row['model_size'] / 1e6:.1f}",
            f"{row['load_ms']['median']:.0f}",
            f"{row['ttft_ms']['median']:.0f}",
            *(f"{row[name]['median'] / 1e6:.0f}" for name in sizes),
        )
    return table
