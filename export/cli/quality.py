"""Runs `evaluate`, `sensitivity` and `recipe`: judges quality and chooses precisions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyaya.export.cli.options import (
    Adapters,
    Budget,
    BundleFolder,
    Json,
    Losses,
    RecipeName,
    Source,
    Texts,
    check_files,
    find_shown,
    print_json,
)

if TYPE_CHECKING:
    from tinyaya.export.options import CalibrationOptions
    from tinyaya.export.source.checkpoint import Checkpoint
    from tinyaya.quantize.recipe import Recipe


def evaluate(
    bundle: BundleFolder,
    against: Annotated[str, typer.Option(metavar="SRC", help="Checkpoint that it was made from.")],
    adapters: Adapters = [],  # noqa: B006
    texts: Texts = None,
    tokens: Annotated[int, typer.Option(help="Judged of each language.")] = 256,
    sentences: Annotated[int, typer.Option(help="Continued of each language; 0: none.")] = 2,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="quality.json", help="With --html: what to compare with."),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Another bundle's --json: say what changed."),
    ] = None,
    store: Annotated[bool, typer.Option(help="Keep the means in the bundle.")] = True,
    as_json: Json = False,
) -> None:
    """Say how faithful the bundle's program is, language by language.

    Example: tinyaya-export evaluate aya/onnx --against tiny-aya-global --html quality.html
    """
    from tinyaya.export.bundle.write import store_quality
    from tinyaya.export.cli.tables import print_changes, print_quality, print_trim
    from tinyaya.export.quality.beside import changes, read_languages
    from tinyaya.export.quality.evaluate import EvaluateOptions, evaluate_bundle
    from tinyaya.export.quality.page import read_points, render_page
    from tinyaya.export.system.progress_bar import shown_progress

    check_files(html)
    options = EvaluateOptions(
        texts=texts, tokens=tokens, sentences=sentences, adapters=tuple(adapters)
    )
    before, bundle = read_languages(beside) if beside else {}, find_shown(str(bundle))
    with shown_progress() as progress:
        quality = evaluate_bundle(bundle, against, options, progress)
    changed = changes(quality, before, bundle)
    if store:
        store_quality(bundle, quality.short())
    if html:
        points = read_points(compare) if compare else ()
        html.write_text(render_page(str(bundle), quality, points), encoding="utf-8")
    if as_json:
        print_json({**quality.as_json(), "changes": changed})
    else:
        print_quality(quality)
        print_trim(quality)
        print_changes(changed)


def sensitivity(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="Where the losses go.")],
    texts: Texts = None,
    tokens: Annotated[int, typer.Option(help="Judged of each language.")] = 64,
    calibration_tokens: Annotated[int, typer.Option(help="Of calibration text, in all.")] = 16384,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw a heat map.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the KL that quantizing each weight alone causes, at every precision.

    Example: tinyaya-export sensitivity tiny-aya-global --out losses.json --plot losses.png
    """
    from tinyaya.export.cli.tables import print_sensitivity
    from tinyaya.export.options import CalibrationOptions
    from tinyaya.export.quality.heatmap import draw_heatmap
    from tinyaya.export.quality.sensitivity import measure_sensitivity
    from tinyaya.export.system.progress_bar import shown_progress

    check_files(out, plot)
    calibration = CalibrationOptions(tokens=calibration_tokens)
    with shown_progress() as progress:
        report = measure_sensitivity(source, texts, tokens, calibration, progress)
    out.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    if plot:
        draw_heatmap(report.losses, plot)
    if as_json:
        print_json(asdict(report))
    else:
        print_sensitivity(report)


def show_recipe(
    name: RecipeName = "int4",
    source: Annotated[
        str | None, typer.Option("--source", metavar="SRC", help="With --budget: the checkpoint.")
    ] = None,
    budget: Budget = None,
    losses: Losses = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write it there.")] = None,
) -> None:
    """Show a recipe as JSON, to change it and give it to `export --recipe FILE.json`.

    Example: tinyaya-export recipe --recipe int4 --out mine.json
    """
    from tinyaya.export.options import CalibrationOptions
    from tinyaya.export.source.checkpoint import open_checkpoint
    from tinyaya.export.system.progress_bar import shown_progress
    from tinyaya.quantize.recipe import find_recipe, write_recipe
    from tinyaya.runtime.errors import OptionError

    if budget and not source:
        raise OptionError("--budget needs the checkpoint whose weights it chooses for: --source")
    check_files(out)
    found = find_recipe(name)
    if budget and source:
        with shown_progress() as progress:
            checkpoint = open_checkpoint(source, progress)
        found = within(budget, checkpoint, name, losses, CalibrationOptions())
    if out:
        write_recipe(out, found)
    else:
        print_json(found.as_json())


def within(
    size: str,
    checkpoint: "Checkpoint",
    base: str,
    losses: Path | None,
    calibration: "CalibrationOptions",
) -> "Recipe":
    """The recipe that loses least within `size`; prints its table."""
    from tinyaya.export.cli.tables import print_choice
    from tinyaya.export.quality.budget_recipe import find_budget_recipe
    from tinyaya.export.system.progress_bar import shown_progress

    with shown_progress() as progress:
        recipe = find_budget_recipe(checkpoint, base, size, losses, calibration, progress)
    print_choice(recipe)
    return recipe
