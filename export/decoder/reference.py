"""Computes logits of all positions in eager torch: what every program is judged by.

Activations can be rounded as an engine does, so that what remains between program and reference is
float arithmetic. Layers are built, applied and dropped one at a time, and weights are taken in
blocks of rows, so that the vocabulary table is never whole in float32.
Shape suffixes: B batch, T tokens, I inputs, V vocabulary rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyaya.export.decoder.activations import Rounding, planes
from tinyaya.export.decoder.attention import Cache, SequenceAttention
from tinyaya.export.decoder.block import Block, LayerNorm, norm_weight
from tinyaya.export.decoder.config import AttentionConfig, DecoderConfig
from tinyaya.export.decoder.model import EMBEDDING, FINAL_NORM, HEAD
from tinyaya.quantize.cache_scales import CacheScales, channel_scales, decode, encode
from tinyaya.quantize.groupwise import QuantizedWeight, dequantize
from tinyaya.quantize.quantizer import QuantizedModel, Weight
from tinyaya.quantize.recipe import Recipe

BLOCK_VALUES = 1 << 23  # of a weight in float32 at a time

# How one weight's engine rounds that weight's activations; None leaves them in float32.
Rounder = Callable[[QuantizedWeight], Rounding]


class Table(Protocol):
    """A vocabulary table that lies elsewhere and comes in rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and width."""

    def read(self, rows: range) -> Tensor:
        """Those rows in float32."""


@runtime_checkable
class LazyWeights(Protocol):
    """Weights that are read when asked for; a table is as large as many layers, so by rows."""

    def table(self, name: str) -> Table:
        """The table of that name."""


class _Linear(nn.Module):
    def __init__(self, weight: Weight | Table, rounding: Rounding | None, count: int) -> None:
        super().__init__()
        self.weight, self.rounding, self.count = weight, rounding, count

    def forward(self, x_BTI: Tensor) -> Tensor:
        if self.rounding:
            parts = planes(x_BTI, self.rounding, self.count)
            x_BTI = torch.stack([self.rounding(part) for part in parts]).sum(0)
        rows, inputs = _shape(self.weight)
        step = max(1, BLOCK_VALUES // inputs)
        blocks = (range(rows)[start : start + step] for start in range(0, rows, step))
        return torch.cat([F.linear(x_BTI, _dense(self.weight, block)) for block in blocks], -1)


class _Embedding(nn.Module):
    def __init__(self, table: Weight | Table) -> None:
        super().__init__()
        self.table = table

    def forward(self, ids_BT: Tensor) -> Tensor:
        ids = ids_BT.flatten().tolist()
        rows = torch.cat([_dense(self.table, range(row, row + 1)) for row in ids])
        return rows.reshape(*ids_BT.shape, -1)


def _shape(weight: Weight | Table) -> tuple[int, ...]:
    return tuple(weight.codes_OI.shape if isinstance(weight, QuantizedWeight) else weight.shape)


def _dense(weight: Weight | Table, rows: range) -> Tensor:
    """Rows of a weight in float32."""
    some = slice(rows.start, rows.stop)
    if isinstance(weight, Tensor):
        return weight[some]
    if not isinstance(weight, QuantizedWeight):
        return weight.read(rows)
    return dequantize(
        QuantizedWeight(
            codes_OI=weight.codes_OI[some], scales_OG=weight.scales_OG[some], bits=weight.bits
        )
    )


@dataclass(frozen=True)
class ReferenceLeaves:
    """Leaves of plain torch operations; caches: one a layer."""

    rope_theta: float
    rounder: Rounder | None
    recipe: Recipe
    caches: Sequence[Cache]

    def embedding(self, table: Weight | Table) -> nn.Module:
        """See `Leaves`."""
        return _Embedding(table)

    def linear(self, weight: Weight | Table, planes: int | None = None) -> nn.Module:
        """See `Leaves`."""
        rounding = None
        if self.rounder and isinstance(weight, QuantizedWeight):
            rounding = self.rounder(weight)
        return _Linear(weight, rounding, planes or self.recipe.activation_planes)

    def head(self, weight: Weight | Table) -> nn.Module:
        """See `Leaves`."""
        return self.linear(weight, self.recipe.head_planes)

    def attention(self, index: int, config: AttentionConfig) -> nn.Module:
        """See `Leaves`."""
        return SequenceAttention(config, self.rope_theta, self.caches[index])


@torch.no_grad()
def reference_logits(
    model: QuantizedModel[DecoderConfig],
    ids_BT: Tensor,
    rounder: Rounder | None = None,
    last: int | None = None,
) -> Tensor:
    """Logits_BTV, float32, of every position of the sequences `ids_BT`, or of the `last` ones.

    rounder: an engine's, to round activations as it does; None keeps them in float32. Keys and
    values are rounded where the model has scales for them.
    """
    x_BTD = reference_hidden(model, ids_BT, rounder)
    if last is not None:  # before the head, which is the largest matrix
        x_BTD = x_BTD[:, -last:]
    return head_logits(model, x_BTD, rounder)


@torch.no_grad()
def reference_hidden(
    model: QuantizedModel[DecoderConfig], ids_BT: Tensor, rounder: Rounder | None = None
) -> Tensor:
    """x_BTD after the last block; `head_logits` makes logits of as many positions as fit."""
    caches = [_rounding(scales) if scales else _exact for scales in model.cache_scales]
    return _hidden(model, ids_BT, _leaves(model, rounder, caches))


@torch.no_grad()
def embedded(model: QuantizedModel[DecoderConfig], ids_BT: Tensor) -> Tensor:
    """x_BTD before the first block."""
    return _Embedding(_table(model.weights, EMBEDDING))(ids_BT)  # type: ignore[no-any-return]


@torch.no_grad()
def hidden_through(model: QuantizedModel[DecoderConfig], x_BTD: Tensor, layers: range) -> Tensor:
    """x_BTD after the blocks `layers`, from what it is before them."""
    return _through(model, x_BTD, layers, _leaves(model, None, [_exact] * len(model.config.layers)))


@torch.no_grad()
def head_logits(
    model: QuantizedModel[DecoderConfig], x_BTD: Tensor, rounder: Rounder | None = None
) -> Tensor:
    """Logits_BTV of what `reference_hidden` returned."""
    config, weights = model.config, model.weights
    normed = LayerNorm(norm_weight(weights, FINAL_NORM), config.norm_eps)(x_BTD)
    head = _table(weights, EMBEDDING if config.tied else HEAD)
    linear = _leaves(model, rounder, ()).head(head)
    return linear(normed) * config.logit_scale  # type: ignore[no-any-return]


@torch.no_grad()
def with_cache_scales(
    model: QuantizedModel[DecoderConfig], ids_BT: Tensor
) -> QuantizedModel[DecoderConfig]:
    """The model with scales for 8-bit keys and values, from what they are on `ids_BT`.

    Layers of a kind whose caches the recipe keeps in float32 get none.
    """
    found: list[CacheScales] = []
    config = model.config
    caches = [_measuring(layer.rotary, found) for layer in config.layers]
    _hidden(model, ids_BT, _leaves(model, None, caches))
    pairs = zip(config.kinds, found, strict=True)
    return replace(
        model,
        cache_scales=[
            scales if model.recipe.kv[kind] == "int8" else None for kind, scales in pairs
        ],
    )


def _leaves(
    model: QuantizedModel[DecoderConfig], rounder: Rounder | None, caches: Sequence[Cache]
) -> ReferenceLeaves:
    return ReferenceLeaves(model.config.rope_theta, rounder, model.recipe, caches)


def _hidden(
    model: QuantizedModel[DecoderConfig], ids_BT: Tensor, leaves: ReferenceLeaves
) -> Tensor:
    """x_BTD after the last block."""
    return _through(model, embedded(model, ids_BT), range(len(model.config.layers)), leaves)


def _through(
    model: QuantizedModel[DecoderConfig], x_BTD: Tensor, layers: range, leaves: ReferenceLeaves
) -> Tensor:
    for index in layers:
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


def _table(weights: Mapping[str, Weight], name: str) -> Weight | Table:
    name = f"{name}.weight"
    return weights.table(name) if isinstance(weights, LazyWeights) else weights[name]
