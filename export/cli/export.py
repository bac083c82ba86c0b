"""Runs `export`: turns a checkpoint into bundles."""

from dataclasses import asdict, replace
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
from tinyaya.runtime.progress import Silent

if TYPE_CHECKING:
    from tinyaya.export.pipeline import ExportedBundle
    from tinyaya.export.proof.parity import Parity


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

    Example: tinyaya-export export tiny-aya-global --out aya --backend both
    """
    from tinyaya.export.pipeline import export_bundle
    from tinyaya.export.source.adapter import with_adapters
    from tinyaya.export.source.checkpoint import open_checkpoint
    from tinyaya.export.system.progress_bar import shown_progress
    from tinyaya.export.vocabulary.choose import trimmed

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
        checkpoint = trimmed(with_adapters(open_checkpoint(source), adapters), options, Silent())
        chosen = within(budget, checkpoint, recipe, losses, options.fitted_to())
        options = replace(options, recipe=chosen)
    with shown_progress() as progress:
        bundles = export_bundle(source, out, options, progress)
    if as_json:
        print_json(list(map(_plain, bundles)))
        return
    for bundle in bundles:
        print(f"{bundle.path}: {bundle.backend}, {recipe}, {_verdict(bundle.parity)}")


def _plain(bundle: "ExportedBundle") -> dict[str, Any]:
    parity = asdict(bundle.parity) if bundle.parity else None
    return {"backend": bundle.backend, "path": str(bundle.path), "parity": parity}


def _verdict(parity: "Parity | None") -> str:
    if parity is None:
        return "not verified"
    return f"verified: KL to fp32 {parity.kl_to_fp32:.2e}, {parity.top1_agreement:.0%} same top-1"
