"""Builds the decoder for a .pte: XNNPACK multiplies, ExecuTorch's llama operators attend.

Shape suffixes: B batch, T tokens, I inputs, O outputs, S cache slots, K key-value heads, E head
size, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import executorch.exir.passes._quant_patterns_and_replacements  # registers embedding_byte
import executorch.kernels.quantized  # noqa: F401  registers the quantized out-variants
import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
import torch.nn.functional as F
from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401  registers llama::
from torch import Tensor, nn

from tinyaya.export.backends.executorch.head_rows import told_rows
from tinyaya.export.backends.executorch.placeholders import placeholder
from tinyaya.export.backends.executorch.runner_methods import logit_rows
from tinyaya.export.decoder.activations import add_planes, int8_rows, planes
from tinyaya.export.decoder.cache import cache_slots, is_ring, ring_mask
from tinyaya.export.decoder.config import AttentionConfig, DecoderConfig
from tinyaya.export.decoder.float_leaves import FloatEmbedding, FloatLinear
from tinyaya.export.decoder.model import Decoder
from tinyaya.export.decoder.rope import rope_table, rotate
from tinyaya.export.options import Limits
from tinyaya.quantize.cache_scales import CacheScales, encode
from tinyaya.quantize.groupwise import QuantizedWeight
from tinyaya.quantize.quantizer import QuantizedModel, Weight
from tinyaya.quantize.recipe import Recipe
from tinyaya.runtime.engines.interface import PTE_CACHE_PARTS, attention_name, restore_offset

PROGRAM_FILE = "model.pte"
_INT8_RANGE = (-128, 127, torch.int8)


@dataclass(frozen=True)
class _Step:
    """What all layers of a step share; the last three are for the window layers' rings.

    within_window: no position of the step is beyond the window, so slots and positions agree.
    restore: what to write of the preamble first; None where the program carries none.
    """

    start: Any
    cos_TP: Tensor
    sin_TP: Tensor
    within_window: Any
    mask_TS: Tensor | None
    slots_BT: Tensor | None
    restore: "_Restore | None"


@dataclass(frozen=True)
class _Restore:
    """Rows of the preamble that a layer writes at a slot: all at 0, or one that does not matter.

    A program can neither write under a condition nor slice away all rows, so a step that restores
    nothing writes one row where it writes its own first one right after.
    """

    rows: Any
    slot: Any
    ring_slot: Any


class _Linear(nn.Module):
    """The pattern that XNNPACK takes for a product of 8-bit rows with 4- or 8-bit weights."""

    def __init__(self, weight: QuantizedWeight, plane_count: int) -> None:
        super().__init__()
        self.bits, self.plane_count = weight.bits, plane_count
        self.group_size = weight.group_size
        self.whole_rows = weight.scales_OG.shape[1] == 1 and weight.bits == 8
        scales = weight.scales_OG[:, 0] if self.whole_rows else weight.scales_OG
        self.register_buffer("codes", weight.codes_OI)
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros_like(scales, dtype=torch.int8))

    def forward(self, x_BTI: Tensor) -> Tensor:
        if self.plane_count == 1:
            return self._product(x_BTI)
        parts = planes(x_BTI, int8_rows, self.plane_count)
        return add_planes(self._product(torch.cat(parts)))

    def _product(self, x_BTI: Tensor) -> Tensor:
        ops = torch.ops.quantized_decomposed
        scale, zero = ops.choose_qparams_per_token_asymmetric(x_BTI, torch.int8)
        codes_BTI = ops.quantize_per_token(x_BTI, scale, zero, *_INT8_RANGE)
        rounded_BTI = ops.dequantize_per_token(codes_BTI, scale, zero, *_INT8_RANGE, torch.float32)
        stored = (self.get_buffer(name) for name in ("codes", "scales", "zeros"))
        if self.whole_rows:
            return F.linear(rounded_BTI, ops.dequantize_per_channel(*stored, 0, *_INT8_RANGE))
        top = 2 ** (self.bits - 1)
        weight_OI = ops.dequantize_per_channel_group(
            *stored, -top, top - 1, torch.int8, self.group_size, torch.float32
        )
        return F.linear(rounded_BTI, weight_OI)


class _Embedding(nn.Module):
    def __init__(self, table: QuantizedWeight) -> None:
        super().__init__()
        self.register_buffer("codes", table.codes_OI)
        self.register_buffer("scales", table.scales_OG.squeeze(1))

    def forward(self, ids_BT: Tensor) -> Tensor:
        codes, scales = self.get_buffer("codes"), self.get_buffer("scales")
        return torch.ops.quantized_decomposed.embedding_byte(  # type: ignore[no-any-return]
            codes, scales, None, -128, 127, ids_BT
        )


class _Attention(nn.Module):
    """Caches in the program's own memory; a ring where the window binds within the context.

    With scales, caches hold 8-bit codes: queries take the keys' scales and results the values'.
    """

    def __init__(self, config: AttentionConfig, limits: Limits, scales: CacheScales | None) -> None:
        super().__init__()
        self.config, self.ring, self.scales = config, is_ring(config, limits), scales
        shape_BSKE = (1, cache_slots(config, limits), config.kv_heads, config.head_dim)
        dtype = torch.int8 if scales else torch.float32
        self.register_buffer("keys", torch.zeros(shape_BSKE, dtype=dtype))
        self.register_buffer("values", torch.zeros(shape_BSKE, dtype=dtype))
        if scales:
            queries_per_key = config.heads // config.kv_heads
            for name, scales_KE in (("key", scales.keys_KE), ("value", scales.values_KE)):
                scales_HE = scales_KE.repeat_interleave(queries_per_key, 0)
                self.register_buffer(f"{name}_scales_KE", scales_KE)
                self.register_buffer(f"{name}_scales_HE", scales_HE)

    def forward(self, q_BTI: Tensor, k_BTI: Tensor, v_BTI: Tensor, step: _Step) -> Tensor:
        q, k, v = (x.unflatten(-1, (-1, self.config.head_dim)) for x in (q_BTI, k_BTI, v_BTI))
        if self.config.rotary:
            q, k = rotate(q, step.cos_TP, step.sin_TP), rotate(k, step.cos_TP, step.sin_TP)
        if self.scales:
            q = q * self.get_buffer("key_scales_HE")
            k = encode(k, self.get_buffer("key_scales_KE"))
            v = encode(v, self.get_buffer("value_scales_KE"))
        y = self._attend(q, k, v, step)
        if self.scales:
            y = y * self.get_buffer("value_scales_HE")
        return y.flatten(-2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, step: _Step) -> Tensor:
        """Put k and v into the caches, and attend to what they hold then."""
        keys, values, llama = self.get_buffer("keys"), self.get_buffer("values"), torch.ops.llama
        if step.restore is not None:
            self._restore(step.restore)
        if not self.ring:
            llama.update_cache(k, keys, step.start)
            llama.update_cache(v, values, step.start)
            return _attend_causally(q, keys, values, step.start)
        llama.update_cache_with_indices(k, keys, step.start, step.slots_BT)
        llama.update_cache_with_indices(v, values, step.start, step.slots_BT)
        operands = (q, keys, values, step.mask_TS, torch.full((), 0) + step.start)
        y: Tensor = torch.cond(step.within_window, _before_the_ring_turns, _attend_ring, operands)
        return y

    def hold_preamble(self, name: str, count: int) -> None:
        """Make room for what `count` slots of the layer called `name` hold after the preamble."""
        for part in PTE_CACHE_PARTS:
            cache = self.get_buffer(part)
            shape = (1, count, *cache.shape[2:])
            self.register_buffer(
                f"preamble_{part}", placeholder(f"{name}.{part}", shape, cache.dtype)
            )

    def _restore(self, restore: _Restore) -> None:
        slot = restore.ring_slot if self.ring else restore.slot
        for name in PTE_CACHE_PARTS:
            rows = self.get_buffer(f"preamble_{name}").narrow(1, 0, restore.rows)
            torch.ops.llama.update_cache(rows, self.get_buffer(name), slot)


def _attend_causally(q: Tensor, keys: Tensor, values: Tensor, start: Any) -> Tensor:
    """Attend to slots 0 to start + T - 1 alone, so that a short context costs little."""
    if keys.dtype == torch.int8:
        used = start + q.shape[1]
        torch._check(used <= keys.shape[1])
        keys, values = (cache.narrow(1, 0, used).float() for cache in (keys, values))
    y: Tensor = torch.ops.llama.custom_sdpa(q, keys, values, start, None, 0.0, True)  # noqa: FBT003
    return y


def _before_the_ring_turns(
    q: Tensor, keys: Tensor, values: Tensor, mask_TS: Tensor, start: Tensor
) -> Tensor:
    first = start.item()
    torch._check(first >= 0)
    return _attend_causally(q, keys, values, first)


def _attend_ring(q: Tensor, keys: Tensor, values: Tensor, mask_TS: Tensor, start: Tensor) -> Tensor:
    keys, values = keys.float(), values.float()  # nothing where they are already
    y: Tensor = torch.ops.llama.custom_sdpa(q, keys, values, 0, mask_TS, 0.0, False)  # noqa: FBT003
    return y


@dataclass(frozen=True)
class _Leaves:
    limits: Limits
    recipe: Recipe
    scales: Sequence[CacheScales | None]

    def embedding(self, table: Weight) -> nn.Module:
        return FloatEmbedding(table) if isinstance(table, Tensor) else _Embedding(table)

    def linear(self, weight: Weight, planes: int | None = None) -> nn.Module:
        planes = planes or self.recipe.activation_planes
        return FloatLinear(weight) if isinstance(weight, Tensor) else _Linear(weight, planes)

    def head(self, weight: Weight) -> nn.Module:
        return self.linear(weight, self.recipe.head_planes)

    def attention(self, index: int, config: AttentionConfig) -> nn.Module:
        return _Attention(config, self.limits, self.scales[index])


class ExecuTorchDecoder(nn.Module):
    """(tokens int64 [1, T], start int64 [1]) -> logits float32 [1, n, V], as stock runners call.

    n is T up to LOGIT_ROWS tokens, else 1; runners take the last row.
    """

    def __init__(self, model: QuantizedModel[DecoderConfig], limits: Limits) -> None:
        super().__init__()
        config = model.config
        leaves = _Leaves(limits, model.recipe, model.cache_scales)
        self.decoder = Decoder(config, model.weights, leaves)
        self.context, self.rows = limits.context, logit_rows(limits)
        rings = [layer for layer in config.layers if is_ring(layer, limits)]
        self.window = rings[0].window if rings else None
        self.ring_slots = cache_slots(rings[0], limits) if rings else 0
        cos_CP, sin_CP = rope_table(limits.context, config.layers[0].head_dim, config.rope_theta)
        self.register_buffer("cos", cos_CP)
        self.register_buffer("sin", sin_CP)
        self.preamble = 0

    def forward(self, ids_BT: Tensor, start: Tensor) -> Tensor:
        first, count, restore = start[0].item(), ids_BT.shape[1], None
        torch._check(first >= 0)
        if self.preamble:
            offset = restore_offset(self.context)
            told, first = first // offset, first % offset
            torch._check(told <= 1)
            restore = self._restore(told, first)
        torch._check(first < self.context)
        torch._check(first + count <= self.context)
        x_BTD = self.decoder.hidden(ids_BT, self._step(first, count, restore))
        rows = told_rows(count, self.rows)
        return self.decoder.logits(x_BTD.narrow(1, count - rows, rows))

    def _restore(self, told: Any, first: Any) -> _Restore:
        """told: 1 if the step begins with the preamble, else 0."""
        return _Restore(
            rows=1 + told * (self.preamble - 1),
            slot=(1 - told) * first,
            ring_slot=(1 - told) * (first % self.ring_slots) if self.ring_slots else 0,
        )

    def hold_preamble(self, count: int) -> None:
        """Make the keys and values of a preamble of `count` ids constants of the program.

        A step at position + `restore_offset` puts them into the caches and then does what a step at
        `position` does. Stock runners never send that: at `context`, they are refused.
        """
        self.preamble = count
        for index, block in enumerate(self.decoder.blocks):
            block.attend.hold_preamble(attention_name(index), count)  # type: ignore[operator, union-attr]

    def _step(self, first: Any, count: Any, restore: _Restore | None) -> _Step:
        within_window = mask_TS = slots_BT = None
        if self.window is not None:
            within_window = first + count <= self.window
            positions_T = torch.arange(count) + first
            mask_TS = ring_mask(positions_T, self.ring_slots, self.window)
            slots_BT = (positions_T % self.ring_slots)[None]
        cos_TP, sin_TP = (self.get_buffer(name).narrow(0, first, count) for name in ("cos", "sin"))
        return _Step(first, cos_TP, sin_TP, within_window, mask_TS, slots_BT, restore)
