"""Verifies a bundle: its files, tokenizer and program; with its checkpoint, the model itself."""

import json
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyaya.export.options import Limits
from tinyaya.export.proof.kl import kl
from tinyaya.export.proof.probe import (
    PROBE_FILE,
    Check,
    probe_ids,
    replay_preamble,
    replay_probe,
    step_logits,
)
from tinyaya.runtime import Bundle, Logits, open_bundle
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Progress

if TYPE_CHECKING:
    from tinyaya.export.source.checkpoint import Checkpoint

_MAX_KL_RATIO = 3  # of another text's KL to that which the export found


def verify_bundle(
    folder: Path,
    source: Path | str | None = None,
    tokens: int | None = None,
    *,
    engine: str | None = None,
    adapters: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> list[Check]:
    """Checks of the bundle in `folder`, against the checkpoint `source` if there is one.

    adapters: folders of those that are merged into it. tokens: judge the program also at the end
    of a text of that many, which may be past the window.
    Raises BundleError where the bundle cannot be opened, ExportError where `source` is no match.
    Without `source` an ONNX bundle, or with the engine "native" any, is checked without torch.
    """
    bundle = open_bundle(folder, engine=engine)
    golden = _read(folder / "golden_tokens.json")
    checks = [
        Check(name="files", ok=True, figure=f"{len(bundle.manifest.files)} hashes agree"),
        _check_golden(bundle, golden),
    ]
    if PROBE_FILE in bundle.manifest.files:
        checks += _check_program(bundle, _read(folder / PROBE_FILE))
    if source is not None:
        from tinyaya.export.vocabulary.trim import open_as

        checkpoint = open_as(source, bundle, adapters, progress)
        checks += _check_model(bundle, golden, checkpoint, tokens)
    return checks


def _check_golden(bundle: Bundle, golden: dict[str, Any]) -> Check:
    right = [
        bundle.tokenizer.encode(row["text"], add_bos=False) == row["ids"] for row in golden.values()
    ]
    figure = f"{sum(right)} of {len(right)}"
    return Check(name="golden token ids", ok=all(right), figure=figure)


def _check_program(bundle: Bundle, probe: dict[str, Any]) -> list[Check]:
    session = bundle.session()
    checks = [replay_probe(session, probe)]
    if bundle.manifest.preamble:
        checks.append(replay_preamble(session, probe["ids"], probe["kl_bound"]))
    return checks


def _check_model(
    bundle: Bundle, golden: dict[str, Any], checkpoint: "Checkpoint", tokens: int | None
) -> Iterator[Check]:
    from tinyaya.export.bundle.tokenizer_proof import golden_tokens
    from tinyaya.quantize.recipe import parse_recipe

    manifest = bundle.manifest
    if tokens is not None and not 0 < tokens <= manifest.limits.context:
        raise OptionError(f"tokens is {tokens}; expected 1 to {manifest.limits.context}")
    same = golden_tokens(checkpoint.tokenizer.encoder()) == golden
    yield Check(name="tokenizer is the checkpoint's", ok=same, figure=f"{len(golden)} texts")
    limits = Limits(context=manifest.limits.context, chunk=manifest.limits.chunk)
    bos, window = manifest.tokens.bos, checkpoint.config.window
    ids = probe_ids(golden, bos, limits, window, checkpoint.languages)
    text = cycle(token for row in golden.values() for token in row["ids"])
    longer = [ids[0], *islice(text, tokens - 1)] if tokens else None
    if parse_recipe(manifest.recipe).calibrated:
        yield from _check_calibrated(bundle, checkpoint, ids, longer)
    else:
        yield from _check_rounded(bundle, checkpoint, golden, (ids, longer))


def _check_rounded(
    bundle: Bundle,
    checkpoint: "Checkpoint",
    golden: dict[str, Any],
    texts: tuple[list[int], list[int] | None],
) -> Iterator[Check]:
    """Against the quantized model, made again: at the end of the probe, and of a longer text."""
    from tinyaya.export.backends import find_backend
    from tinyaya.export.calibration.quantized_model import build_quantized
    from tinyaya.export.proof.parity import float_model, kl_bound, measure, tail_logits
    from tinyaya.quantize.recipe import parse_recipe

    ids, longer = texts
    model = build_quantized(checkpoint, parse_recipe(bundle.manifest.recipe), golden)
    rounder = find_backend(bundle.manifest.engine).rounder
    float_NV = tail_logits(float_model(checkpoint), ids)
    checkpoint.check_unchanged()
    parity, _ = measure(bundle.session(), ids, tail_logits(model, ids, rounder), float_NV)
    yield parity.check
    yield Check(name="KL to fp32", ok=True, figure=parity.kl_to_fp32)
    yield Check(name="same top-1 as fp32", ok=True, figure=parity.top1_agreement)
    if longer:
        figure = _kl_of_program(bundle, tail_logits(model, longer, rounder), longer)
        ok = figure <= kl_bound(parity.kl_of_recipe)
        yield Check(name=f"the same after {len(longer)} tokens", ok=ok, figure=figure)


def _check_calibrated(
    bundle: Bundle, checkpoint: "Checkpoint", ids: list[int], longer: list[int] | None
) -> Iterator[Check]:
    """Against the unquantized model: calibrated weights cannot be made again without their text."""
    from tinyaya.export.proof.parity import MAX_KL_SHARE, float_model, tail_logits

    recorded = float((bundle.manifest.parity or {}).get("kl_to_fp32", 0.0))
    for name, text, factor in (
        ("KL to fp32 is the export's", ids, 1 + MAX_KL_SHARE),
        (f"KL to fp32 after {len(longer or ids)} tokens", longer, _MAX_KL_RATIO),
    ):
        if text:
            float_NV = tail_logits(float_model(checkpoint), text)
            figure = _kl_of_program(bundle, float_NV, text)
            yield Check(name=name, ok=figure <= factor * recorded, figure=figure)
    checkpoint.check_unchanged()


def _kl_of_program(bundle: Bundle, expected_NV: Logits, ids: list[int]) -> float:
    """Mean over the last positions of `ids`, fed as a session would be; nats."""
    for low, high in bundle.manifest.tokens.unused:
        expected_NV[:, low:high] = -float("inf")
    return float(kl(expected_NV, step_logits(bundle.session(), ids)).mean())


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
