"""checkpoint and recipe -> quantized model: calibrated, and with scales for 8-bit caches."""

import torch

from export.calibrate import fit_layers
from export.checkpoint import Checkpoint
from export.decoder.config import DecoderConfig
from export.decoder.reference import with_cache_scales
from export.errors import CalibrationError
from export.fitted_store import FittedStore, store_key
from export.golden import Golden, hugging_face_encoder
from export.options import CalibrationOptions
from export.progress import Progress, Silent
from export.texts import calibration_texts, sequences_of
from quantize.groupwise import QuantizedWeight
from quantize.quantizer import QuantizedModel, quantize_model
from quantize.recipe import Recipe

_CACHE_TOKENS = 1024
_WINDOWS = 6  # a calibration sequence has, so that global layers see what is older than one
_LONGEST = 8192


def build_quantized(
    checkpoint: Checkpoint,
    recipe: Recipe,
    golden: Golden,
    calibration: CalibrationOptions | None = None,
    progress: Progress | None = None,
) -> QuantizedModel[DecoderConfig]:
    """Quantize the weights; scales of 8-bit caches come from texts in all golden languages."""
    progress = progress or Silent()
    fitted: dict[str, QuantizedWeight] = {}
    if recipe.calibrated:
        fitted = _fitted(checkpoint, recipe, calibration or CalibrationOptions(), progress)
    advance = progress.stage("quantize", len(checkpoint.names))
    model = quantize_model(checkpoint, recipe, advance, fitted)
    if "int8" not in recipe.kv.values():
        return model
    ids = [checkpoint.tokenizer.bos, *(token for row in golden.values() for token in row["ids"])]
    return with_cache_scales(model, torch.tensor([ids[:_CACHE_TOKENS]]))


def calibration_sequences(
    checkpoint: Checkpoint, calibration: CalibrationOptions
) -> list[list[int]]:
    """Ids of the texts, in sequences of several windows; raises CalibrationError."""
    encode = hugging_face_encoder(checkpoint.folder)
    ids = {code: encode(text) for code, text in calibration_texts(calibration.texts).items()}
    window = checkpoint.config.window or _LONGEST
    length = min(checkpoint.config.max_context, _WINDOWS * window, _LONGEST)
    total = sum(map(len, ids.values()))
    if total < length:
        raise CalibrationError(
            f"the calibration texts have {total} tokens; expected at least {length}, a sequence "
            "of several windows: add text"
        )
    return sequences_of(ids, checkpoint.tokenizer.bos, length, max(calibration.tokens, length))


def _fitted(
    checkpoint: Checkpoint, recipe: Recipe, calibration: CalibrationOptions, progress: Progress
) -> dict[str, QuantizedWeight]:
    sequences = calibration_sequences(checkpoint, calibration)
    store = None
    if calibration.work:
        store = FittedStore(calibration.work, store_key(checkpoint, recipe, sequences))
    advance = progress.stage("calibrate", len(checkpoint.config.layers))
    return fit_layers(checkpoint, recipe, sequences, store, advance)
