"""Measurements in; tables on the terminal, or bars with quartile whiskers in a PNG, out."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from export.bench.results import ContenderRow, Row, Spread
from export.bench.store import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 120  # of what is not a terminal
_PANEL_WIDTH_IN, _PANEL_HEIGHT_IN = 5.0, 3.4
_GROUP_WIDTH = 0.84  # of the space between two tests


def print_results(measured: Measured) -> None:
    """Print rates, then load times and memory, then what was skipped; MB are 10^6 bytes."""
    console, machine = Console(width=None if sys.stdout.isatty() else _WIDTH), measured.machine
    reads = ", ".join(
        f"{row.threads} threads read {row.read_bytes_per_s / 1e9:.1f} GB/s"
        for row in machine.bandwidths
    )
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 1e9:.1f} GB, {reads}",
        highlight=False,
    )
    console.print(_rates(measured.rows()))
    console.print(_memory(measured.contenders()))
    for path, reasons in measured.skipped().items():
        for test, reason in reasons.items():
            console.print(f"skipped  {path}, {test}: {reason}", markup=False, highlight=False)


def short_name(path: str) -> str:
    """The last two parts of a path: enough to know a contender by."""
    return "/".join(Path(path).parts[-2:])


def names(contenders: Sequence[ContenderRow]) -> dict[str, str]:
    """Path -> label, with the path's last part where two have the same label."""
    labels = {row.model_filename: row.label for row in contenders}
    shared = [label for label in labels.values() if list(labels.values()).count(label) > 1]
    return {
        path: f"{label} ({Path(path).name})" if label in shared else label
        for path, label in labels.items()
    }


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


def _rates(rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("test", no_wrap=True)
    table.add_column("model", overflow="fold")
    columns = ("threads", "tok/s", "q1", "q3", "rounds", "to peer", "MB read\na token")
    for column in (*columns, "of band-\nwidth"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.test,
            short_name(row.model_filename),
            str(row.n_threads),
            f"{row.median_ts:.4g}",
            f"{row.q1_ts:.4g}",
            f"{row.q3_ts:.4g}",
            str(row.n_samples),
            f"{row.ratio:.2f}" if row.ratio else "",
            f"{row.bytes_read_per_token / 1e6:.1f}" if row.bytes_read_per_token else "",
            f"{row.share_of_bandwidth:.0%}" if row.share_of_bandwidth else "",
        )
    return table


def _memory(contenders: Sequence[ContenderRow]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", overflow="fold")
    columns = ("threads", "MB", "load\nms", "1st token\nms, cold", "Rss\nMB", "of it\nimports")
    for column in (*columns, "Pss\nMB", "dirty\nMB"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in contenders:
        table.add_row(
            short_name(row.model_filename),
            str(row.n_threads),
            f"{row.model_size / 1e6:.1f}",
            f"{row.load_ms.median:.0f}",
            f"{row.ttft_ms.median:.0f}",
            f"{row.rss_bytes.median / 1e6:.0f}",
            f"{row.imports_rss_bytes.median / 1e6:.0f}",
            f"{row.pss_bytes.median / 1e6:.0f}",
            f"{row.private_dirty_bytes.median / 1e6:.0f}",
        )
    return table
