"""The eager model that every program is judged by: logits of all positions of a sequence.

It can round activations as an engine does, so that what remains between program and reference is
float arithmetic. Layers are built, applied and dropped one at a time.
Shape suffixes: B batch, T tokens, I inputs, V vocabulary rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.decoder.activations import Rounding, planes
from export.decoder.attention import Cache, SequenceAttention
from export.decoder.block import Block, LayerNorm, norm_weight
from export.decoder.config import AttentionConfig, DecoderConfig
from export.decoder.model import EMBEDDING, FINAL_NORM, HEAD
from quantize.cache_scales import CacheScales, channel_scales, decode, encode
from quantize.groupwise import QuantizedWeight, dequantize
from quantize.quantizer import QuantizedModel, Weight

# How one weight's engine rounds that weight's activations; None leaves them in float32.
Rounder = Callable[[QuantizedWeight], Rounding]


class _Linear(nn.Module):
    def __init__(self, weight: Weight, rounding: Rounding | None, count: int) -> None:
        super().__init__()
        self.dense = weight if isinstance(weight, Tensor) else dequantize(weight)
        self.rounding, self.count = rounding, count

    def forward(self, x_BTI: Tensor) -> Tensor:
        if self.rounding:
            parts = planes(x_BTI, self.rounding, self.count)
            x_BTI = torch.stack([self.rounding(part) for part in parts]).sum(0)
        return F.linear(x_BTI, self.dense)


class _Embedding(nn.Module):
    def __init__(self, table: Weight) -> None:
        super().__init__()
        self.table = table

    def forward(self, ids_BT: Tensor) -> Tensor:
        if isinstance(self.table, Tensor):
            return self.table[ids_BT]
        rows = QuantizedWeight(
            codes_OI=self.table.codes_OI[ids_BT.flatten()],
            scales_OG=self.table.scales_OG[ids_BT.flatten()],
            bits=self.table.bits,
        )
        return dequantize(rows).reshape(*ids_BT.shape, -1)


@dataclass(frozen=True)
class ReferenceLeaves:
    """Leaves of plain torch operations; caches: one a layer, or none for exact ones."""

    rope_theta: float
    rounder: Rounder | None
    planes: int
    caches: Sequence[Cache] = ()

    def embedding(self, table: Weight) -> nn.Module:
        """See `Leaves`."""
        return _Embedding(table)

    def linear(self, weight: Weight) -> nn.Module:
        """See `Leaves`."""
        rounding = None
        if self.rounder and isinstance(weight, QuantizedWeight):
            rounding = self.rounder(weight)
        return _Linear(weight, rounding, self.planes)

    def attention(self, index: int, config: AttentionConfig) -> nn.Module:
        """See `Leaves`."""
        return SequenceAttention(
            config, self.rope_theta, self.caches[index] if self.caches else _exact
        )


@torch.no_grad()
def reference_logits(
    model: QuantizedModel[DecoderConfig], ids_BT: Tensor, rounder: Rounder | None = None
) -> Tensor:
    """Logits_BTV, float32, of every position of the sequences `ids_BT`.

    rounder: an engine's, to round activations as it does; None keeps them in float32. Keys and
    values are rounded where the model has scales for them.
    """
    config, weights = model.config, model.weights
    leaves = _leaves(model, rounder, [_rounding(scales) for scales in model.cache_scales])
    normed = LayerNorm(norm_weight(weights, FINAL_NORM), config.norm_eps)(
        _hidden(model, ids_BT, leaves)
    )
    head = weights[f"{EMBEDDING if config.tied else HEAD}.weight"]
    return leaves.linear(head)(normed) * config.logit_scale  # type: ignore[no-any-return]


@torch.no_grad()
def with_cache_scales(
    model: QuantizedModel[DecoderConfig], ids_BT: Tensor
) -> QuantizedModel[DecoderConfig]:
    """The model with scales for 8-bit keys and values, from what they are on `ids_BT`."""
    found: list[CacheScales] = []
    caches = [_measuring(layer.rotary, found) for layer in model.config.layers]
    _hidden(model, ids_BT, _leaves(model, None, caches))
    return replace(model, cache_scales=found)


def _leaves(
    model: QuantizedModel[DecoderConfig], rounder: Rounder | None, caches: Sequence[Cache]
) -> ReferenceLeaves:
    return ReferenceLeaves(model.config.rope_theta, rounder, model.recipe.activation_planes, caches)


def _hidden(
    model: QuantizedModel[DecoderConfig], ids_BT: Tensor, leaves: ReferenceLeaves
) -> Tensor:
    """x_BTD after the last block."""
    x_BTD: Tensor = leaves.embedding(model.weights[f"{EMBEDDING}.weight"])(ids_BT)
    for index in range(len(model.config.layers)):
        x_BTD = Block(model.config, index, model.weights, leaves)(x_BTD, None)
    return x_BTD


def _exact(k_BTKE: Tensor, v_BTKE: Tensor) -> tuple[Tensor, Tensor]:
    return k_BTKE, v_BTKE


def _rounding(scales: CacheScales) -> Cache:
    """A cache of 8-bit codes."""

    def cache(k_BTKE: Tensor, v_BTKE: Tensor) -> tuple[Tensor, Tensor]:
        pairs = (k_BTKE, scales.keys_KE), (v_BTKE, scales.values_KE)
        k_BTKE, v_BTKE = (decode(encode(x, by), by) for x, by in pairs)
        return k_BTKE, v_BTKE

    return cache


def _measuring(rotary: bool, found: list[CacheScales]) -> Cache:  # noqa: FBT001
    """A cache that changes nothing and adds to `found` the scales that it would need."""

    def cache(k_BTKE: Tensor, v_BTKE: Tensor) -> tuple[Tensor, Tensor]:
        keys_KE = channel_scales(k_BTKE, rotary=rotary)
        values_KE = channel_scales(v_BTKE, rotary=False)
        found.append(CacheScales(keys_KE=keys_KE, values_KE=values_KE))
        return k_BTKE, v_BTKE

    return cache
