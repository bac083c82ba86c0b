"""Runs `export` and `merge`: turns a checkpoint into bundles, and several into one checkpoint."""

import time
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyaya.export.cli.languages import Keep, Languages, VocabularyTexts, vocabulary_options
from tinyaya.export.cli.options import (
    Adapters,
    BackendName,
    Budget,
    Calibrate,
    CalibrationTexts,
    CalibrationTokens,
    Chunk,
    Context,
    Json,
    KvName,
    Losses,
    Preamble,
    RecipeName,
    Source,
    Verify,
    Work,
    preamble_text,
    print_json,
)
from tinyaya.export.cli.quality import within
from tinyaya.export.options import CalibrationOptions, ExportOptions
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.manifest import CHAT_TEMPLATE_FILE

if TYPE_CHECKING:
    from tinyaya.export.pipeline import ExportedBundle
    from tinyaya.export.proof.parity import Parity


# Up to which KL to fp32, in nats; of Tiny Aya, llama.cpp's Q4_K_M has 0.05.
_QUALITY_WORDS = (
    (0.003, "as good as the original"),
    (0.06, "close to the original"),
    (0.2, "weaker than the original"),
    (float("inf"), "far from the original"),
)


def export(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the bundle goes.")],
    backend: BackendName = "onnx",
    recipe: RecipeName = "int4",
    budget: Budget = None,
    losses: Losses = None,
    kv: KvName = None,
    adapters: Adapters = [],  # noqa: B006
    context: Context = None,
    chunk: Chunk = 128,
    preamble: Preamble = None,
    languages: Languages = None,
    keep: Keep = None,
    texts: VocabularyTexts = None,
    calibrate: Calibrate = True,
    calibration: CalibrationTexts = None,
    calibration_tokens: CalibrationTokens = 65536,
    work: Work = None,
    verify: Verify = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Quantize, trace and lower SRC; write and verify a bundle.

    Example: tinyaya-export export CohereLabs/tiny-aya-global --out aya --backend both
    """
    from tinyaya.export.pipeline import export_bundle
    from tinyaya.export.system.progress_bar import shown_progress
    from tinyaya.export.vocabulary.choose import open_for_export

    options = ExportOptions(
        backend=backend,
        recipe=recipe,
        kv=kv,
        adapters=tuple(adapters),
        context=context,
        chunk=chunk,
        preamble=preamble_text(preamble),
        vocabulary=vocabulary_options(languages, keep, texts),
        calibrate=calibrate,
        calibration=CalibrationOptions(texts=calibration, tokens=calibration_tokens, work=work),
        verify=verify,
        force=force,
    )
    if budget:
        with shown_progress() as progress:
            checkpoint = open_for_export(source, options, progress)
        chosen = within(budget, checkpoint, recipe, losses, options.fitted_to())
        options = replace(options, recipe=chosen)
    started = time.monotonic()
    with shown_progress() as progress:
        bundles = export_bundle(source, out, options, progress)
    if as_json:
        print_json(list(map(_plain, bundles)))
        return
    for bundle in bundles:
        size = sum(path.stat().st_size for path in bundle.path.iterdir()) / 1e6
        what = f"{bundle.backend}, {recipe}, {size:,.1f} MB, {_quality(bundle.parity)}"
        print(f"{bundle.path}: {what}")
    print(f"done in {timedelta(seconds=round(time.monotonic() - started))}; next:")
    how = "chat {}" if (bundles[0].path / CHAT_TEMPLATE_FILE).exists() else "run {} --prompt TEXT"
    print(f"  tinyaya-export {how.format(out)}")


def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where the checkpoint goes.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SRC[:WEIGHT]", help="Folders or ids."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="linear, slerp, ties, dare_linear or dare_ties.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="SRC", help="What ties and dare take differences from.")
    ] = None,
    density: Annotated[
        float | None,
        typer.Option(help="Share of differences that ties and dare keep.", show_default="0.5"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Instead: mergekit's configuration.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a merge at OUT.")] = False,
) -> None:
    """Merge checkpoints of one shape and vocabulary into one, with mergekit.

    Example: tinyaya-export merge both --method linear tiny-aya-earth:0.7 tiny-aya-fire:0.3
    """
    if bool(config) == bool(method) or (config and (sources or base or density)):
        raise OptionError("expected --method and checkpoints, or --config FILE.yaml alone")
    from tinyaya.export.merge.configuration import (
        MergeOptions,
        make_configuration,
        read_configuration,
    )
    from tinyaya.export.merge.run import merge_checkpoints
    from tinyaya.export.system.progress_bar import shown_progress

    if config:
        configuration = read_configuration(config)
    else:
        options = MergeOptions(
            method=method or "", sources=sources or [], base=base, density=density
        )
        configuration = make_configuration(options)
    with shown_progress() as progress:
        merge_checkpoints(configuration, out, force=force, progress=progress)
    print(f"{out}: {len(configuration.models)} checkpoints, {configuration.parsed.merge_method}")


def _plain(bundle: "ExportedBundle") -> dict[str, Any]:
    parity = asdict(bundle.parity) if bundle.parity else None
    return {"backend": bundle.backend, "path": str(bundle.path), "parity": parity}


def _quality(parity: "Parity | None") -> str:
    if parity is None:
        return "not verified"
    words = next(words for limit, words in _QUALITY_WORDS if parity.kl_to_fp32 <= limit)
    return (
        f"verified: {words} (KL to fp32 {parity.kl_to_fp32:.2e}, "
        f"{parity.top1_agreement:.0%} same top-1)"
    )
