"""Finds scales of an 8-bit key-value cache from the ranges of keys and values.

One scale for each channel of each key-value head, the same at all positions: queries take the keys'
scales and results the values', so that attention itself reads codes alone.
Shape suffixes: B batch, T tokens, K key-value heads, E head size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_CODE = 127
# Text beyond what was measured may go this much further before it is clipped.
_HEADROOM_FACTOR = 1.5
_MIN_SCALE = 2.0**-100


@dataclass(frozen=True, kw_only=True)
class CacheScales:
    """One layer's scales, float32: keys_KE of rotated keys, values_KE."""

    keys_KE: Tensor
    values_KE: Tensor


def channel_scales(x_BTKE: Tensor, *, rotary: bool) -> Tensor:
    """scales_KE that hold what was seen, with headroom.

    rotary: channels come in pairs that positions rotate, so what is in one of them here is in the
    other elsewhere; both get the scale of the pair's length.
    """
    largest_KE = x_BTKE.abs().amax((0, 1))
    if rotary:
        pairs_BTKP = x_BTKE.unflatten(-1, (-1, 2)).norm(dim=-1)
        largest_KE = pairs_BTKP.amax((0, 1)).repeat_interleave(2, -1)
    return (largest_KE * (_HEADROOM_FACTOR / _MAX_CODE)).clamp_min(_MIN_SCALE)


def encode(x_BTKE: Tensor, scales_KE: Tensor) -> Tensor:
    """Codes in int8."""
    return (x_BTKE / scales_KE).round().clamp(-_MAX_CODE, _MAX_CODE).to(torch.int8)


def decode(codes_BTKE: Tensor, scales_KE: Tensor) -> Tensor:
    """What codes stand for, float32."""
    return codes_BTKE * scales_KE
