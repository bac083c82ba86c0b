"""Compares KL at equal bytes: this exporter's recipes and llama.cpp's formats.

The same weights, texts and measure for all: each file's own program is judged one token at a time
by the unquantized model in float32. llama.cpp's own float32 file is judged first: if it did not
agree, nothing that follows could be compared.
Usage: python -m tinyaya.benchmarks.quality SRC --out DIR
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tinyaya.benchmarks.frontier import frontier_kl
from tinyaya.benchmarks.peers.llama_cpp import QUANTIZED_TYPES, LlamaRunner, convert
from tinyaya.benchmarks.speed.runner import Loading
from tinyaya.export.backends import BACKENDS, find_backend
from tinyaya.export.options import CalibrationOptions, ExportOptions
from tinyaya.export.pipeline import export_bundle
from tinyaya.export.plan.estimate import weights_bytes
from tinyaya.export.quality.evaluate import EvaluateOptions, Reference, Stepped, bundle_steps
from tinyaya.export.quality.figures import LanguageFigures
from tinyaya.export.quality.page import Point, draw_points
from tinyaya.export.source.checkpoint import open_checkpoint
from tinyaya.export.system.progress_bar import shown_progress
from tinyaya.runtime import Logits, open_bundle
from tinyaya.runtime.errors import TinyAyaError
from tinyaya.runtime.progress import Progress

FLOAT_TYPE = "F32"
MAX_FLOAT_KL = 1e-5  # nats; llama.cpp's float32 differs by rounding alone
_PEER_ENGINE = "llama.cpp"


class DisagreementError(Exception):
    """llama.cpp computes another model from the same float32 weights."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One judged file; frontier_share: its KL over llama.cpp's at the same bytes, for ours."""

    name: str
    engine: str
    weights_bytes: int
    mean_kl: float
    p99_kl: float
    top1_agreement: float
    worst_to_median: float
    frontier_share: float | None = None

    @property
    def point(self) -> Point:
        """As plots have it."""
        ours = self.engine != _PEER_ENGINE
        name = f"{self.name} {self.engine}" if ours else self.name
        return Point(name=name, weights_bytes=self.weights_bytes, mean_kl=self.mean_kl, ours=ours)


def judge_peers(reference: Reference, out: Path, threads: int, progress: Progress) -> Iterator[Row]:
    """llama.cpp's files of the reference's checkpoint; raises DisagreementError."""
    for kind in (FLOAT_TYPE, *QUANTIZED_TYPES):
        path = out / f"{kind}.gguf"
        if not path.exists():
            progress.stage(f"{kind}: convert")
            convert(reference.checkpoint.folder, path, kind)
        context = reference.hidden_LTD.shape[1] + 1
        runner = LlamaRunner(Loading(path=path, context=context, threads=threads))
        size = runner.facts.model_bytes
        row = _judged(reference, (kind, _PEER_ENGINE, size), _llama_steps(runner), progress)
        if kind == FLOAT_TYPE and row.mean_kl > MAX_FLOAT_KL:
            raise DisagreementError(
                f"llama.cpp's {FLOAT_TYPE} differs from the model by KL {row.mean_kl:.2e}, more "
                f"than {MAX_FLOAT_KL}; its other formats say nothing of quantization then"
            )
        yield row


def judge_recipe(
    reference: Reference, options: ExportOptions, out: Path, threads: int, progress: Progress
) -> Iterator[Row]:
    """Our bundles of one recipe, by both engines."""
    recipe = options.find_recipe()
    target = out / recipe.name
    export_bundle(reference.checkpoint.folder, target, options, progress)
    for backend in BACKENDS:
        bundle = open_bundle(target / backend)
        size = weights_bytes(reference.checkpoint.config, recipe, find_backend(backend))
        steps = bundle_steps(bundle.session(threads=threads))
        yield _judged(reference, (recipe.name, backend, size), steps, progress)


def with_shares(rows: Sequence[Row]) -> list[Row]:
    """The rows, ours with their share of llama.cpp's frontier."""
    peers = [row.point for row in rows if row.engine == _PEER_ENGINE and row.name != FLOAT_TYPE]
    return [
        row
        if row.engine == _PEER_ENGINE
        else replace(row, frontier_share=row.mean_kl / frontier_kl(peers, row.weights_bytes))
        for row in rows
    ]


def _judged(
    reference: Reference, what: tuple[str, str, int], steps: Stepped, progress: Progress
) -> Row:
    name, engine, size = what
    advance = progress.stage(f"{name} {engine}", len(reference.ids))
    found: Sequence[LanguageFigures] = list(reference.judge(steps, {}, advance).values())
    kls = [row.mean_kl for row in found]
    return Row(
        name=name,
        engine=engine,
        weights_bytes=size,
        mean_kl=fmean(kls),
        p99_kl=fmean(row.p99_kl for row in found),
        top1_agreement=fmean(row.top1_agreement for row in found),
        worst_to_median=max(kls) / max(median(kls), 1e-12),
    )


def _llama_steps(runner: LlamaRunner) -> Stepped:
    def stepped(ids: Sequence[int]) -> Logits:
        return np.stack([runner.feed([id_], position).copy() for position, id_ in enumerate(ids)])

    return stepped


def print_rows(rows: Sequence[Row]) -> None:
    """A table, smallest file first."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("file", "engine"):
        table.add_column(column)
    for column in ("MB", "KL, mnat", "p99, mnat", "same top-1", "worst/median", "of frontier"):
        table.add_column(column, justify="right")
    for row in sorted(rows, key=lambda row: row.weights_bytes):
        table.add_row(
            row.name,
            row.engine,
            f"{row.weights_bytes / 1e6:.2f}",
            f"{row.mean_kl * 1000:.4f}",
            f"{row.p99_kl * 1000:.2f}",
            f"{row.top1_agreement:.1%}",
            f"{row.worst_to_median:.2f}",
            "" if row.frontier_share is None else f"{row.frontier_share:.2f}",
        )
    Console().print(table)


def plot_points(points: Sequence[Point], path: Path) -> None:
    """Write a PNG of KL against bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    draw_points(figure.add_subplot(), points)
    figure.savefig(path, dpi=150)


def quality(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Checkpoint folder.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")],
    recipes: Annotated[
        str, typer.Option(help="Names, or JSON files.")
    ] = "int4-small,int4,int4-quality,int8",
    texts: Annotated[Path | None, typer.Option(help="One text file a language.")] = None,
    tokens: Annotated[int, typer.Option(help="Judged of each language.")] = 256,
    calibration_tokens: Annotated[int, typer.Option(help="In all.")] = 65536,
) -> None:
    """Judge recipes and llama.cpp's formats on the same weights and texts.

    Example: python -m tinyaya.benchmarks.quality tests/assets/nano --out quality
    """
    out.mkdir(parents=True, exist_ok=True)
    options = EvaluateOptions(texts=texts, tokens=tokens, sentences=0)
    try:
        with shown_progress() as progress:
            checkpoint = open_checkpoint(source)
            progress.stage("fp32 by language")
            threads = len(os.sched_getaffinity(0))
            reference = Reference.of(checkpoint, options, checkpoint.config.max_context)
            rows = list(judge_peers(reference, out, threads, progress))
            for recipe in recipes.split(","):
                calibration = CalibrationOptions(tokens=calibration_tokens)
                chosen = ExportOptions(
                    backend="both", recipe=recipe, calibration=calibration, force=True
                )
                rows += judge_recipe(reference, chosen, out, threads, progress)
    except (DisagreementError, TinyAyaError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    rows = with_shares(rows)
    points = [row.point for row in rows if row.name != FLOAT_TYPE]
    report = {"rows": list(map(asdict, rows)), "points": list(map(asdict, points))}
    (out / "quality.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    plot_points(points, out / "quality.png")
    print_rows(rows)


if __name__ == "__main__":
    typer.run(quality)
