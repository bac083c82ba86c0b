"""What people see in a terminal: progress bars and tables, by rich; nothing where there is none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

from export.progress import Advance, Progress, Silent
from runtime import Bundle

if TYPE_CHECKING:
    from export.demo import DemoResult


class _Shown:
    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("start", total=None)

    def stage(self, name: str, total: int | None = None) -> Advance:
        """See `Progress`."""
        self._bars.remove_task(self._task)
        self._task = task = self._bars.add_task(name, total=total)
        return lambda: self._bars.advance(task)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress on stderr with the stage's name and the time left; silent when not a terminal."""
    if not sys.stderr.isatty():
        yield Silent()
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


def print_manifest(bundle: Bundle) -> None:
    """A bundle's facts as two columns."""
    manifest = bundle.manifest
    model, size = manifest.model, sum(file.bytes for file in manifest.files.values())
    window = f", window {model.window}" if model.window else ""
    parity = manifest.parity or {}
    rows = {
        "engine": manifest.engine,
        "model": f"{model.model_type}, {model.parameters:,} parameters, {model.layers} layers"
        + window,
        "recipe": f"{manifest.recipe['name']}, caches in {manifest.cache[0].dtype}",
        "context": f"{manifest.limits.context} tokens, in chunks of {manifest.limits.chunk}",
        "preamble": f"{len(manifest.preamble.ids)} tokens" if manifest.preamble else "none",
        "size": f"{size / 1e6:.1f} MB in {len(manifest.files)} files",
        "stop ids": ", ".join(map(str, manifest.tokens.stop)),
        "KL to fp32": f"{parity['kl_to_fp32']:.2e} nats over {parity['positions']} positions"
        if "kl_to_fp32" in parity
        else "not verified",
        "made with": ", ".join(f"{name} {text}" for name, text in manifest.versions.items()),
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in rows.items():
        table.add_row(f"[bold]{name}", text)
    Console().print(table)


def print_demo(result: "DemoResult") -> None:
    """Print the table of the demo and what each bundle says; KL in thousandths of a nat."""
    console = Console()
    table = Table(
        title=f"{result.model}, {result.languages} languages, KL in mnat",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("recipe", "engine"):
        table.add_column(column)
    for column in ("MB", "recipe\nmnat", "program\nshare", "fp32\nmnat", "same\ntop-1"):
        table.add_column(column, justify="right")
    for column in ("prefill\ntok/s", "decode\ntok/s"):
        table.add_column(column, justify="right")
    for row in result.rows:
        table.add_row(
            row.recipe,
            row.engine,
            f"{row.bundle_bytes / 1e6:.1f}",
            f"{row.kl_of_recipe * 1000:.3f}",
            f"{row.program_share:.4f}",
            f"{row.kl_to_fp32 * 1000:.3f}",
            f"{row.top1_agreement:.1%}",
            f"{row.prefill_tokens_per_s:.0f}",
            f"{row.decode_tokens_per_s:.0f}",
        )
    console.print(table)
    for check in result.checks:
        console.print(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}: {check.figure}")
    for row in result.rows:
        console.print(f"\n[bold]{row.recipe} {row.engine}:[/] [dim]{result.prompt}[/]", end="")
        console.print(row.answer, markup=False, highlight=False)
