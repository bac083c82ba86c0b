"""The arithmetic of group-wise integer weights: quantize, dequantize, pack, unpack; all pure.

Shape suffixes: O output rows, I input columns, G groups in a row (I = G * group size),
P packed bytes.
Symmetric codes, no zero points: weight ~ code * scale. Every scale is exactly representable in
bfloat16, because XNNPACK stores group scales as such; so all backends hold the same weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantize.errors import GroupSizeError

# A scale may clip the largest weight a little where that lowers the squared error of its group.
_SCALE_CANDIDATES = {4: torch.linspace(0.70, 1.10, 17).tolist(), 8: [0.96, 0.98, 1.0]}
# The search works on row blocks of this size: half a megabyte stays in a core's cache, and is not
# mapped anew by the system for every step (`export.allocator`).
CHUNK_VALUES = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bits of a code and how many inputs share a scale (`None`: the whole row)."""

    bits: int
    group_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class QuantizedWeight:
    """An integer weight matrix.

    codes_OI: int8, in [-2**(bits-1), 2**(bits-1) - 1]. scales_OG: float32, positive.
    """

    codes_OI: Tensor
    scales_OG: Tensor
    bits: int

    @property
    def group_size(self) -> int:
        """Inputs that share a scale."""
        return self.codes_OI.shape[1] // self.scales_OG.shape[1]


def quantize(weight_OI: Tensor, precision: Precision) -> QuantizedWeight:
    """Round each group to codes, with the scale that gives the smallest squared error.

    Raises GroupSizeError when the group size does not divide a row, or is odd at 4 bits.
    """
    rows, inputs = weight_OI.shape
    group = precision.group_size or inputs
    if inputs % group:
        raise GroupSizeError(
            f"group size {group} does not divide a row of {inputs} weights; "
            f"choose a divisor of {inputs}"
        )
    if precision.bits == 4 and group % 2:
        raise GroupSizeError(
            f"a group has {group} weights, but 4-bit codes are packed in pairs; "
            "choose an even group size"
        )
    codes_OI = torch.empty(rows, inputs, dtype=torch.int8)
    scales_OG = torch.empty(rows, inputs // group, dtype=torch.float32)
    step = max(1, CHUNK_VALUES // inputs)
    for start in range(0, rows, step):
        block = weight_OI[start : start + step].float()
        codes, scales = _search(block.reshape(-1, group), precision.bits)
        codes_OI[start : start + step] = codes.reshape(block.shape)
        scales_OG[start : start + step] = scales.reshape(block.shape[0], -1)
    return QuantizedWeight(codes_OI=codes_OI, scales_OG=scales_OG, bits=precision.bits)


def _search(groups: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes and scales of independent groups (one a row) by trying clipped ranges."""
    top = 2 ** (bits - 1)
    full = groups.abs().amax(1, keepdim=True).clamp_min(2.0**-100) / (top - 0.5)
    best_scale, best_error = full.bfloat16().float(), torch.full_like(full, torch.inf)
    for factor in _SCALE_CANDIDATES[bits]:
        scale = (full * factor).bfloat16().float()
        codes = (groups / scale).round_().clamp_(-top, top - 1)
        error = (codes.mul_(scale).sub_(groups)).square_().sum(1, keepdim=True)
        best_scale = torch.where(error < best_error, scale, best_scale)
        best_error = torch.minimum(error, best_error)
    return (groups / best_scale).round_().clamp_(-top, top - 1).to(torch.int8), best_scale


def dequantize(weight: QuantizedWeight) -> Tensor:
    """Float32 weight_OI that the codes stand for."""
    codes = weight.codes_OI.reshape(*weight.scales_OG.shape, -1).float()
    values: Tensor = codes * weight.scales_OG[..., None]
    return values.reshape(weight.codes_OI.shape)


def pack(weight: QuantizedWeight) -> Tensor:
    """Unsigned codes (code + 2**(bits-1)) as bytes_OP; at 4 bits the low nibble comes first."""
    unsigned: Tensor = (weight.codes_OI.to(torch.int16) + 2 ** (weight.bits - 1)).to(torch.uint8)
    if weight.bits == 8:
        return unsigned
    return unsigned[:, 0::2] | (unsigned[:, 1::2] << 4)


def unpack(bytes_OP: Tensor, scales_OG: Tensor, bits: int) -> QuantizedWeight:
    """The inverse of `pack`."""
    if bits == 4:
        bytes_OP = torch.stack([bytes_OP & 15, bytes_OP >> 4], dim=-1).flatten(1)
    codes = (bytes_OP.to(torch.int16) - 2 ** (bits - 1)).to(torch.int8)
    return QuantizedWeight(codes_OI=codes, scales_OG=scales_OG, bits=bits)
