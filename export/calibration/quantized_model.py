"""Makes the quantized model of a checkpoint: calibrated, and with scales for 8-bit caches.

What is measured on text is measured with the whole vocabulary, so that a trimmed model computes
bit for bit what the whole one does.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from tinyaya.export.bundle.tokenizer_proof import Golden, golden_tokens
from tinyaya.export.calibration.fit import fit_layers
from tinyaya.export.calibration.store import FittedStore, store_key
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.model import EMBEDDING
from tinyaya.export.decoder.reference import with_cache_scales
from tinyaya.export.errors import CalibrationError
from tinyaya.export.languages.texts import calibration_texts, sequences_of, weights_of
from tinyaya.export.options import CalibrationOptions
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.groupwise import QuantizedWeight, quantize
from tinyaya.quantize.quantizer import QuantizedModel, quantize_model
from tinyaya.quantize.recipe import Recipe
from tinyaya.quantize.roles import place_of
from tinyaya.runtime.progress import Progress, Silent

_CACHE_SCALES_TOKENS = 1024
_SEQUENCE_WINDOWS = 6  # so that global layers see what is older than a window
_MAX_SEQUENCE_TOKENS = 8192
_CHOSEN_LANGUAGES_SHARE = 0.5  # of the calibration text, where a bundle is made for some


def build_quantized(
    checkpoint: Checkpoint,
    recipe: Recipe,
    golden: Golden,
    calibration: CalibrationOptions | None = None,
    progress: Progress | None = None,
) -> QuantizedModel[DecoderConfig]:
    """Quantize the weights; scales of 8-bit caches come from texts in all golden languages."""
    progress, whole = progress or Silent(), checkpoint.whole
    fitted: dict[str, QuantizedWeight] = {}
    if recipe.calibrated:
        fitted = _fitted(whole, recipe, calibration or CalibrationOptions(), progress)
    advance = progress.stage("quantize", len(checkpoint.names))
    model = quantize_model(checkpoint, recipe, advance, fitted)
    if "int8" not in recipe.kv.values():
        return model
    progress.stage("scales of caches")
    if checkpoint.trim:
        golden = golden_tokens(whole.tokenizer.encoder())
    ids = [whole.tokenizer.bos, *(token for row in golden.values() for token in row["ids"])]
    return _with_cache_scales(model, whole, ids[:_CACHE_SCALES_TOKENS])


def _with_cache_scales(
    model: QuantizedModel[DecoderConfig], whole: Checkpoint, ids: Sequence[int]
) -> QuantizedModel[DecoderConfig]:
    """Scales from ids of the whole vocabulary, of which `model` may have lost some rows."""
    name = f"{EMBEDDING}.weight"
    used = sorted(set(ids))
    rows = torch.cat([whole.read(name, range(row, row + 1)) for row in used])
    precision = model.recipe.precision(place_of(name, whole.kinds))
    table = quantize(rows, precision) if precision else rows
    places = torch.tensor([[used.index(token) for token in ids]])
    measured = with_cache_scales(replace(model, weights={**model.weights, name: table}), places)
    return replace(model, cache_scales=measured.cache_scales)


def calibration_sequences(
    checkpoint: Checkpoint, calibration: CalibrationOptions
) -> list[list[int]]:
    """Ids of the texts, in sequences of several windows; raises CalibrationError."""
    encode = checkpoint.tokenizer.encoder()
    ids = {code: encode(text) for code, text in calibration_texts(calibration.texts).items()}
    length = calibration_length(checkpoint)
    total = sum(map(len, ids.values()))
    if total < length:
        raise CalibrationError(
            f"the calibration texts have {total} tokens; expected at least {length}, a sequence "
            "of several windows: add text"
        )
    weights = weights_of(calibration.languages, ids, _CHOSEN_LANGUAGES_SHARE)
    tokens = max(calibration.tokens, length)
    return sequences_of(ids, checkpoint.tokenizer.bos, length, tokens, weights)


def calibration_length(checkpoint: Checkpoint) -> int:
    """Ids of a calibration sequence."""
    window = checkpoint.config.window or _MAX_SEQUENCE_TOKENS
    return min(checkpoint.config.max_context, _SEQUENCE_WINDOWS * window, _MAX_SEQUENCE_TOKENS)


def _fitted(
    checkpoint: Checkpoint, recipe: Recipe, calibration: CalibrationOptions, progress: Progress
) -> dict[str, QuantizedWeight]:
    sequences = calibration_sequences(checkpoint, calibration)
    texts = calibration_texts(calibration.texts)
    if silent := [code for code in calibration.languages if code not in texts]:
        progress.note(f"there is no calibration text of {', '.join(silent)}; it does not weigh")
    store = None
    if calibration.work:
        store = FittedStore(calibration.work, store_key(checkpoint, recipe, sequences))
    return fit_layers(checkpoint, recipe, sequences, store, progress)
