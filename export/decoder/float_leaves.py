"""Computes with weights that stay in float32, for all backends alike.

Shape suffixes: B batch, T tokens, I inputs, O outputs, V vocabulary rows, D width.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class FloatLinear(nn.Module):
    """x_BTI -> y_BTO."""

    def __init__(self, weight_OI: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight_OI)

    def forward(self, x_BTI: Tensor) -> Tensor:
        return F.linear(x_BTI, self.get_buffer("weight"))


class FloatEmbedding(nn.Module):
    """ids_BT -> x_BTD."""

    def __init__(self, table_VD: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table_VD)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return F.embedding(ids_BT, self.get_buffer("table"))
