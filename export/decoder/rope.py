"""Rotates heads by position, in interleaved pairs (0, 1), (2, 3) ... (arXiv 2104.09864).

Shape suffixes: B batch, T tokens, H heads, E head size, P pairs (E / 2), C context.
"""

import torch
from torch import Tensor


def rope_table(context: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos_CP and sin_CP, float32, of position * theta ** (-2p / head_dim)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    angles_CP = torch.arange(context, dtype=torch.float32)[:, None] / theta**exponents
    return angles_CP.cos(), angles_CP.sin()


def rotate(x_BTHE: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
    """Rotate every pair of every head by its position's angle."""
    even, odd = x_BTHE.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos_TP[:, None], sin_TP[:, None]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
