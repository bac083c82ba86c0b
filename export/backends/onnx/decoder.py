"""Builds the decoder for ONNX: block-quantized products and GroupQueryAttention of com.microsoft.

Window layers let GroupQueryAttention evict by itself (`sliding_window_cache`), so a cache holds
`window + chunk - 1` slots; caches are inputs and outputs, fp32, which sessions share as one buffer.
Shape suffixes: B batch, T tokens, I inputs, O outputs, G blocks, P packed bytes, V vocabulary rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic, symbolic_multi_out

from tinyaya.export.decoder.activations import add_planes, int8_blocks, planes
from tinyaya.export.decoder.cache import is_ring
from tinyaya.export.decoder.config import AttentionConfig, DecoderConfig
from tinyaya.export.decoder.float_leaves import FloatEmbedding, FloatLinear
from tinyaya.export.decoder.model import Decoder
from tinyaya.export.decoder.rope import rope_table
from tinyaya.export.options import Limits
from tinyaya.quantize.cache_scales import CacheScales
from tinyaya.quantize.groupwise import QuantizedWeight, pack
from tinyaya.quantize.quantizer import QuantizedModel, Weight

PROGRAM_FILE, DATA_FILE, GENAI_FILE = "model.onnx", "model.onnx.data", "genai_config.json"
PREAMBLE_FILE = "preamble.npy"
_MAX_BLOCK = 128
_INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level
_SCALES_INPUT = 12  # k_scale and v_scale of GroupQueryAttention, after optional ones


def block_size(group_size: int) -> int:
    """Block that stores a group: whole rows are cut, since blocks are powers of two up to 128."""
    return math.gcd(group_size, _MAX_BLOCK)


@dataclass(frozen=True)
class _Blocks:
    """A weight as the file stores it: codes_OGP uint8; scales_OS bfloat16, each of whole blocks.

    MatMulNBits and GatherBlockQuantized take a float32 scale a block; ONNX Runtime computes those
    once, when it folds constants.
    """

    codes_OGP: Tensor
    scales_OS: Tensor
    bits: int
    size: int

    @classmethod
    def of(cls, weight: QuantizedWeight) -> "_Blocks":
        size = block_size(weight.group_size)
        rows, inputs = weight.codes_OI.shape
        codes = pack(weight).reshape(rows, inputs // size, size * weight.bits // 8)
        return cls(codes, weight.scales_OG.bfloat16(), weight.bits, size)


def _scale_blocks(scales_OS: Tensor, blocks: int) -> Tensor:
    """A float32 scale a block: scales_OG."""
    rows, scales = scales_OS.shape
    if scales == blocks:
        return scales_OS.float()
    shared_OSG = scales_OS.float()[:, :, None].expand(rows, scales, blocks // scales)
    return shared_OSG.reshape(rows, blocks)


class _Linear(nn.Module):
    def __init__(self, blocks: _Blocks, plane_count: int) -> None:
        super().__init__()
        self.bits, self.size, self.plane_count = blocks.bits, blocks.size, plane_count
        self.outputs = blocks.codes_OGP.shape[0]
        self.register_buffer("codes", blocks.codes_OGP)
        self.register_buffer("scales", blocks.scales_OS)

    def forward(self, x_BTI: Tensor) -> Tensor:
        if self.plane_count == 1:
            return self._product(x_BTI)
        parts = planes(x_BTI, partial(int8_blocks, block=self.size), self.plane_count)
        return add_planes(self._product(torch.cat(parts)))

    def _product(self, x_BTI: Tensor) -> Tensor:
        codes_OGP = self.get_buffer("codes")
        return symbolic(
            "com.microsoft::MatMulNBits",
            (x_BTI, codes_OGP, _scale_blocks(self.get_buffer("scales"), codes_OGP.shape[1])),
            {
                "K": x_BTI.shape[-1],
                "N": self.outputs,
                "bits": self.bits,
                "block_size": self.size,
                "accuracy_level": _INT8_ACTIVATIONS,
            },
            dtype=torch.float32,
            shape=(*x_BTI.shape[:-1], self.outputs),
            version=1,
        )


class _Embedding(nn.Module):
    def __init__(self, blocks: _Blocks) -> None:
        super().__init__()
        self.bits, self.size = blocks.bits, blocks.size
        self.blocks = blocks.codes_OGP.shape[1]
        self.register_buffer("codes", blocks.codes_OGP.flatten(1))
        self.register_buffer("scales", blocks.scales_OS)

    def forward(self, ids_BT: Tensor) -> Tensor:
        codes = self.get_buffer("codes")
        return symbolic(
            "com.microsoft::GatherBlockQuantized",
            (codes, ids_BT, _scale_blocks(self.get_buffer("scales"), self.blocks)),
            {"block_size": self.size, "gather_axis": 0, "quantize_axis": 1, "bits": self.bits},
            dtype=torch.float32,
            shape=(*ids_BT.shape, self.blocks * self.size),
            version=1,
        )


@dataclass(frozen=True)
class _Step:
    """What all layers of a step share, and the caches that they read and leave."""

    last_B: Tensor
    total: Tensor
    past: Sequence[Tensor]
    cos_CP: Tensor
    sin_CP: Tensor
    present: list[Tensor] = field(default_factory=list)


class _Attention(nn.Module):
    def __init__(
        self, index: int, config: AttentionConfig, limits: Limits, scales: CacheScales | None
    ) -> None:
        super().__init__()
        self.index, self.config, self.scaled = index, config, scales is not None
        self.attributes: dict[str, Any] = {
            "num_heads": config.heads,
            "kv_num_heads": config.kv_heads,
            "scale": config.head_dim**-0.5,
        }
        if is_ring(config, limits):
            self.attributes |= {"local_window_size": config.window, "sliding_window_cache": 1}
        if config.rotary:
            self.attributes |= {"do_rotary": 1, "rotary_interleaved": 1}
        if scales:
            kind = "PER_CHANNEL"
            self.attributes |= {"k_quant_type": kind, "v_quant_type": kind, "kv_cache_bit_width": 8}
            self.register_buffer("key_scales", scales.keys_KE[None, :, None].contiguous())
            self.register_buffer("value_scales", scales.values_KE[None, :, None].contiguous())

    def forward(self, q_BTI: Tensor, k_BTI: Tensor, v_BTI: Tensor, step: _Step) -> Tensor:
        past = step.past[2 * self.index : 2 * self.index + 2]
        inputs: list[Tensor | None] = [q_BTI, k_BTI, v_BTI, *past, step.last_B, step.total]
        if self.config.rotary:
            inputs += [step.cos_CP, step.sin_CP]
        if self.scaled:
            scales = [self.get_buffer("key_scales"), self.get_buffer("value_scales")]
            inputs += [*[None] * (_SCALES_INPUT - len(inputs)), *scales]
        y_BTI, *present = symbolic_multi_out(
            "com.microsoft::GroupQueryAttention",
            inputs,
            self.attributes,
            dtypes=(torch.float32, *(cache.dtype for cache in past)),
            shapes=(q_BTI.shape, *(cache.shape for cache in past)),
            version=1,
        )
        step.present.extend(present)
        return y_BTI


class _Leaves:
    """The tied table is packed once: embedding and head get views of the same bytes."""

    def __init__(self, model: QuantizedModel[DecoderConfig], limits: Limits) -> None:
        self.limits, self.recipe = limits, model.recipe
        self.scales = model.cache_scales
        self.table: tuple[QuantizedWeight, _Blocks] | None = None

    def embedding(self, table: Weight) -> nn.Module:
        if isinstance(table, Tensor):
            return FloatEmbedding(table)
        self.table = table, _Blocks.of(table)
        return _Embedding(self.table[1])

    def linear(self, weight: Weight, planes: int | None = None) -> nn.Module:
        if isinstance(weight, Tensor):
            return FloatLinear(weight)
        tied = self.table is not None and self.table[0] is weight
        blocks = self.table[1] if tied and self.table else _Blocks.of(weight)
        return _Linear(blocks, planes or self.recipe.activation_planes)

    def head(self, weight: Weight) -> nn.Module:
        return self.linear(weight, self.recipe.head_planes)

    def attention(self, index: int, config: AttentionConfig) -> nn.Module:
        return _Attention(index, config, self.limits, self.scales[index])


class OnnxDecoder(nn.Module):
    """(ids, mask, past) -> (logits, present), as onnxruntime-genai calls it."""

    def __init__(self, model: QuantizedModel[DecoderConfig], limits: Limits) -> None:
        super().__init__()
        config = model.config
        self.decoder = Decoder(config, model.weights, _Leaves(model, limits))
        cos_CP, sin_CP = rope_table(limits.context, config.layers[0].head_dim, config.rope_theta)
        self.register_buffer("cos", cos_CP)
        self.register_buffer("sin", sin_CP)

    def forward(
        self, ids_BT: Tensor, mask_BC: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        last_B = (mask_BC.sum(-1) - 1).to(torch.int32)
        shape = symbolic("Shape", (mask_BC,), {"start": 1}, dtype=torch.int64, shape=(1,))
        total = shape.to(torch.int32).squeeze()
        step = _Step(last_B, total, past, self.get_buffer("cos"), self.get_buffer("sin"))
        return self.decoder(ids_BT, step), step.present
