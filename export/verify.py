"""A bundle in, verdicts out: files, tokenizer, program; with its checkpoint, the model itself."""

import json
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import OptionsError
from export.options import Limits
from export.probe import (
    PROBE_FILE,
    Check,
    kl,
    probe_ids,
    replay_preamble,
    replay_probe,
    step_logits,
)
from runtime import Bundle, open_bundle

if TYPE_CHECKING:
    from export.decoder.config import DecoderConfig
    from quantize.quantizer import QuantizedModel


def verify_bundle(
    folder: Path, source: Path | None = None, tokens: int | None = None
) -> list[Check]:
    """Checks of the bundle in `folder`, against the checkpoint `source` if there is one.

    tokens: judge the program also at the end of a text of that many, which may be past the window.
    Raises BundleError where the bundle cannot be opened, ExportError where `source` is no match.
    Without `source` an ONNX bundle is checked without torch.
    """
    bundle = open_bundle(folder)
    golden = _read(folder / "golden_tokens.json")
    checks = [
        Check(name="files", ok=True, figure=f"{len(bundle.manifest.files)} hashes agree"),
        _check_golden(bundle, golden),
    ]
    if PROBE_FILE in bundle.manifest.files:
        checks += _check_program(bundle, _read(folder / PROBE_FILE))
    if source is not None:
        checks += _check_model(bundle, golden, source, tokens)
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
    bundle: Bundle, golden: dict[str, Any], source: Path, tokens: int | None
) -> Iterator[Check]:
    from export.backends import find_backend
    from export.checkpoint import open_checkpoint
    from export.golden import golden_tokens
    from export.parity import float_model, measure, tail_logits
    from export.quantized import build_quantized
    from export.trimmed_checkpoint import trim_as
    from quantize.recipe import parse_recipe

    manifest = bundle.manifest
    checkpoint = trim_as(open_checkpoint(source), manifest.vocabulary)
    if tokens is not None and not 0 < tokens <= manifest.limits.context:
        raise OptionsError(f"tokens is {tokens}; expected 1 to {manifest.limits.context}")
    if (
        checkpoint.config.vocab_size != manifest.model.vocab_size
        or len(checkpoint.config.layers) != manifest.model.layers
    ):
        raise OptionsError(f"{source} is another model than the one in {bundle.folder}")
    same = golden_tokens(checkpoint.folder / "tokenizer.json") == golden
    limits = Limits(context=manifest.limits.context, chunk=manifest.limits.chunk)
    bos, window = manifest.tokens.bos, checkpoint.config.window
    ids = probe_ids(golden, bos, limits, window, checkpoint.languages)
    model = build_quantized(checkpoint, parse_recipe(manifest.recipe), golden)
    float_NV = tail_logits(float_model(checkpoint), ids)
    checkpoint.check_unchanged()
    quantized_NV = tail_logits(model, ids, find_backend(manifest.engine).rounder)
    parity, _ = measure(bundle.session(), ids, quantized_NV, float_NV)
    yield Check(name="tokenizer is the checkpoint's", ok=same, figure=f"{len(golden)} texts")
    yield parity.check
    yield Check(name="KL to fp32", ok=True, figure=parity.kl_to_fp32)
    yield Check(name="same top-1 as fp32", ok=True, figure=parity.top1_agreement)
    if tokens:
        text = islice(cycle(token for row in golden.values() for token in row["ids"]), tokens - 1)
        yield _check_end(bundle, model, [ids[0], *text], parity.kl_of_recipe)


def _check_end(
    bundle: Bundle, model: "QuantizedModel[DecoderConfig]", ids: list[int], kl_of_recipe: float
) -> Check:
    """The last positions of a text, step by step, against the quantized model."""
    from export.backends import find_backend
    from export.parity import kl_bound, tail_logits

    manifest = bundle.manifest
    quantized_NV = tail_logits(model, ids, find_backend(manifest.engine).rounder)
    for low, high in manifest.tokens.unused:
        quantized_NV[:, low:high] = -float("inf")
    figure = float(kl(quantized_NV, step_logits(bundle.session(), ids)).mean())
    ok = figure <= kl_bound(kl_of_recipe)
    return Check(name=f"the same after {len(ids)} tokens", ok=ok, figure=figure)


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
