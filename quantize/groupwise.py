"""Quantizes, dequantizes, packs and unpacks group-wise integer weights; all functions are pure.

Shape suffixes: O output rows, I input columns, G groups in a row (I = G * group size),
P packed bytes.
Symmetric codes, no zero points: weight ~ code * scale. Every scale is exactly representable in
bfloat16, because XNNPACK stores group scales as such; so all backends hold the same weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyaya.quantize.errors import GroupSizeError
from tinyaya.quantize.precision import Precision

# A scale may clip the largest weight a little where that lowers the squared error of its group.
_SCALE_CANDIDATES = {
    4: torch.linspace(0.70, 1.10, 17).tolist(),
    8: torch.linspace(0.94, 1.0, 7).tolist(),
}
# The search works on row blocks of this size: half a megabyte stays in a core's cache, and is not
# mapped anew by the system for every step (`tinyaya.export.system.allocator`).
CHUNK_VALUES = 1 << 17


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
    check_groups(weight_OI.shape[1], precision)
    rows, inputs = weight_OI.shape
    codes_OI = torch.empty(rows, inputs, dtype=torch.int8)
    scales_OG = torch.empty(rows, inputs // (precision.group_size or inputs))
    for some in _row_blocks(weight_OI):
        block_OI = weight_OI[some].float()
        scales_OG[some] = best_scales(block_OI, precision)
        scale_OI = scales_OG[some].repeat_interleave(inputs // scales_OG.shape[1], 1)
        codes_OI[some] = round_to(block_OI, scale_OI, precision.bits)
    return QuantizedWeight(codes_OI=codes_OI, scales_OG=scales_OG, bits=precision.bits)


def check_groups(inputs: int, precision: Precision) -> None:
    """Raise GroupSizeError where rows of `inputs` weights cannot have this precision."""
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


def round_to(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Codes, in x's type, of what lies on the grids of `scale`, element by element."""
    top = 2 ** (bits - 1)
    return (x / scale).round_().clamp_(-top, top - 1)


def best_scales(
    weight_OI: Tensor, precision: Precision, importance_I: Tensor | None = None
) -> Tensor:
    """scales_OG whose rounding errs least, by trying clipped ranges.

    importance_I: weight of each input's squared error; None: all count alike.
    """
    groups = weight_OI.shape[1] // (precision.group_size or weight_OI.shape[1])
    importance_GI = None if importance_I is None else importance_I.unflatten(0, (groups, -1))
    blocks = (weight_OI[some].unflatten(1, (groups, -1)) for some in _row_blocks(weight_OI))
    return torch.cat([_search(block, precision.bits, importance_GI) for block in blocks])


def _row_blocks(weight_OI: Tensor) -> Iterator[slice]:
    step = max(1, CHUNK_VALUES // weight_OI.shape[1])
    return (slice(start, start + step) for start in range(0, len(weight_OI), step))


def _search(weight_OGI: Tensor, bits: int, importance_GI: Tensor | None) -> Tensor:
    top = 2 ** (bits - 1)
    full_OG1 = weight_OGI.abs().amax(-1, keepdim=True).clamp_min_(2.0**-100) / (top - 0.5)
    best_OG1, least_OG1 = full_OG1.bfloat16().float(), torch.full_like(full_OG1, torch.inf)
    for factor in _SCALE_CANDIDATES[bits]:
        scale_OG1 = (full_OG1 * factor).bfloat16().float()
        error_OGI = round_to(weight_OGI, scale_OG1, bits).mul_(scale_OG1).sub_(weight_OGI).square_()
        if importance_GI is not None:
            error_OGI *= importance_GI
        error_OG1 = error_OGI.sum(-1, keepdim=True)
        best_OG1 = torch.where(error_OG1 < least_OG1, scale_OG1, best_OG1)
        least_OG1 = torch.minimum(error_OG1, least_OG1)
    best_OG: Tensor = best_OG1.squeeze(-1)
    return best_OG


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
