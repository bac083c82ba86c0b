"""Runs `export`: turns a checkpoint into bundles."""

import time
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyaya.export.cli.languages import Keep, Languages, VocabularyTexts, vocabulary_options
from tinyaya.export.cli.options import (
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
    from tinyaya.export.source.checkpoint import open_checkpoint
    from tinyaya.export.system.progress_bar import shown_progress
    from tinyaya.export.vocabulary.choose import trimmed

    options = ExportOptions(
        backend=backend,
        recipe=recipe,
        kv=kv,
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
            checkpoint = trimmed(open_checkpoint(source, progress), options, progress)
        chosen = within(budget, checkpoint, recipe, losses, options.fitted_to())
        options = replace(options, recipe=chosen)
    started = time.monotonic()
    with shown_progress() as progress:
        bundles = export_bundle(source, out, options, progress)
    if as_json:
        print_json(list(map(_plain, bundles)))
        return
    for bundle in bundles:
        size = sum(path.stat().st_size for path in bundle.path.iterdir())
        print(
            f"{bundle.path}: {bundle.backend}, {recipe}, {size / 1e6:,.1f} MB, "
            f"{_quality(bundle.parity)}"
        )
    print(f"done in {timedelta(seconds=round(time.monotonic() - started))}; next:")
    print(f'  tinyaya-export run {bundles[-1].path} "Habari ya asubuhi?"')


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
