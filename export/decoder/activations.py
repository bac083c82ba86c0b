"""Rounds activations to 8 bits as engines do before an integer product; a function an engine.

The backends trace these functions to split activations into planes, and the eager reference calls
them to round as the engine will.
Shape suffixes: B batch, P planes, T tokens, I inputs, O outputs, G groups.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Rounding = Callable[[Tensor], Tensor]

_SMALLEST_FLOAT = float(torch.finfo(torch.float32).tiny)


def int8_rows(x_BTI: Tensor) -> Tensor:
    """XNNPACK's qd8: one scale and zero point a row, over a range that holds zero."""
    low = x_BTI.amin(-1, keepdim=True).clamp_max(0)
    high = x_BTI.amax(-1, keepdim=True).clamp_min(0)
    scale = ((high - low) / 255).clamp_min(_SMALLEST_FLOAT)
    zero = (-128 - low / scale).round()
    codes: Tensor = (x_BTI / scale + zero).round().clamp(-128, 127) - zero
    return codes * scale


def int8_blocks(x_BTI: Tensor, block: int) -> Tensor:
    """MatMulNBits at accuracy level 4: one symmetric scale for each `block` inputs."""
    x_BTGI: Tensor = x_BTI.unflatten(-1, (-1, block))
    scale = (x_BTGI.abs().amax(-1, keepdim=True) / 127).clamp_min(_SMALLEST_FLOAT)
    return ((x_BTGI / scale).round() * scale).flatten(-2)


def planes(x_BTI: Tensor, rounding: Rounding, count: int) -> list[Tensor]:
    """Summands of x; all but the last are already on the grid that `rounding` gives them.

    So an engine rounds nothing but the last, smallest plane: the high plane's extremes lie on its
    own grid, hence it is rounded onto the same grid again.
    """
    parts = []
    for _ in range(count - 1):
        parts.append(rounding(x_BTI))
        x_BTI = x_BTI - parts[-1]
    return [*parts, x_BTI]


def add_planes(y_PTO: Tensor) -> Tensor:
    """Sum of the products of planes that took the place of a batch of one: y_BTO."""
    y_BTO = y_PTO[:1]
    for index in range(1, y_PTO.shape[0]):
        y_BTO = y_BTO + y_PTO[index : index + 1]
    return y_BTO
