"""checkpoint and recipe -> quantized model, with scales for its caches where they hold 8 bits."""

from collections.abc import Callable

import torch

from export.checkpoint import Checkpoint
from export.decoder.config import DecoderConfig
from export.decoder.reference import with_cache_scales
from export.golden import Golden
from quantize.quantizer import QuantizedModel, quantize_model
from quantize.recipe import Recipe

_CALIBRATION_TOKENS = 1024


def build_quantized(
    checkpoint: Checkpoint,
    recipe: Recipe,
    golden: Golden,
    advance: Callable[[], None] = lambda: None,
) -> QuantizedModel[DecoderConfig]:
    """Quantize the weights; scales of 8-bit caches come from texts in all golden languages."""
    model = quantize_model(checkpoint, recipe, advance)
    if recipe.kv != "int8":
        return model
    ids = [checkpoint.tokenizer.bos, *(token for row in golden.values() for token in row["ids"])]
    return with_cache_scales(model, torch.tensor([ids[:_CALIBRATION_TOKENS]]))
