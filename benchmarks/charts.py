"""Rows in; a table on the terminal, or bars with quartile whiskers in a PNG, out."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.results import ContenderRow, Row

_WIDTH = 110  # of what is not a terminal


def print_results(
    machine: Machine,
    contenders: Sequence[ContenderRow],
    rows: Sequence[Row],
    skipped: Mapping[str, Mapping[str, str]],
) -> None:
    """Print rates, then load times and memory, then what was skipped; MB are 10^6 bytes."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads, "
        f"{machine.memory_bytes / 1e9:.1f} GB, reads {machine.read_bytes_per_s / 1e9:.1f} GB/s",
        highlight=False,
    )
    console.print(_rates(rows))
    console.print(_memory(contenders))
    for path, reasons in skipped.items():
        for test, reason in reasons.items():
            console.print(f"skipped  {path}, {test}: {reason}", markup=False, highlight=False)


def plot_results(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG: a panel a test, a bar a contender, whiskers from the lower to upper quartile."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tests = list(dict.fromkeys(row.test for row in rows))
    models = list(dict.fromkeys(row.model_filename for row in rows))
    figure = Figure(figsize=(3.2 * len(tests), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(tests), squeeze=False)[0]
    for panel, test in zip(panels, tests, strict=True):
        chosen = [row for row in rows if row.test == test]
        below = [row.median_ts - row.q1_ts for row in chosen]
        above = [row.q3_ts - row.median_ts for row in chosen]
        places = [models.index(row.model_filename) for row in chosen]
        panel.bar(
            places,
            [row.median_ts for row in chosen],
            yerr=(below, above),
            capsize=4,
            color=[f"C{place}" for place in places],
        )
        panel.set_title(test)
        panel.set_ylabel("tokens/s")
        panel.set_xticks(range(len(models)), [short_name(model) for model in models], rotation=60)
    figure.savefig(path, dpi=150)


def short_name(path: str) -> str:
    """The last two parts of a path: enough to know a contender by."""
    return "/".join(Path(path).parts[-2:])


def _rates(rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("test", no_wrap=True)
    table.add_column("model", overflow="fold")
    for column in ("tok/s", "q1", "q3", "to peer", "MB read\na token", "of band-\nwidth"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.test,
            short_name(row.model_filename),
            f"{row.median_ts:.4g}",
            f"{row.q1_ts:.4g}",
            f"{row.q3_ts:.4g}",
            f"{row.ratio:.2f}" if row.ratio else "",
            f"{row.bytes_read_per_token / 1e6:.1f}" if row.bytes_read_per_token else "",
            f"{row.share_of_bandwidth:.0%}" if row.share_of_bandwidth else "",
        )
    return table


def _memory(contenders: Sequence[ContenderRow]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", overflow="fold")
    columns = ("MB", "load\nms", "1st token\nms, cold", "Rss\nMB", "of it\nimports", "Pss\nMB")
    for column in (*columns, "dirty\nMB"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in contenders:
        table.add_row(
            short_name(row.model_filename),
            f"{row.model_size / 1e6:.1f}",
            f"{row.load_ms.median:.0f}",
            f"{row.ttft_ms.median:.0f}",
            f"{row.rss_bytes.median / 1e6:.0f}",
            f"{row.imports_rss_bytes.median / 1e6:.0f}",
            f"{row.pss_bytes.median / 1e6:.0f}",
            f"{row.private_dirty_bytes.median / 1e6:.0f}",
        )
    return table
