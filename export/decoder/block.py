"""The parallel block: x + attention(norm(x)) + mlp(norm(x)), one bias-free LayerNorm for both.

Shape suffixes: B batch, T tokens, D width, I inputs of a projection, O its outputs.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from export.decoder.config import AttentionConfig, DecoderConfig
from quantize.quantizer import Weight


class Leaves(Protocol):
    """A backend's own modules for what it computes its own way."""

    def embedding(self, table: Weight) -> nn.Module:
        """Module: ids_BT -> x_BTD."""

    def linear(self, weight: Weight) -> nn.Module:
        """Module: x_BTI -> y_BTO."""

    def head(self, weight: Weight) -> nn.Module:
        """Module: x_BTD -> logits_BTV."""

    def attention(self, index: int, config: AttentionConfig) -> nn.Module:
        """Module: (q_BTI, k_BTI, v_BTI, step) -> y_BTI, heads laid flat; rotates and attends."""


class LayerNorm(nn.Module):
    """LayerNorm with mean subtraction and a weight, without bias, in float32."""

    def __init__(self, weight_D: Tensor, eps: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight_D)
        self.eps = eps

    def forward(self, x_BTD: Tensor) -> Tensor:
        return F.layer_norm(x_BTD, x_BTD.shape[-1:], self.get_buffer("weight"), None, self.eps)


class Block(nn.Module):
    """One layer; `step` is the backend's own state of this step and is passed through."""

    def __init__(
        self, config: DecoderConfig, index: int, weights: Mapping[str, Weight], leaves: Leaves
    ) -> None:
        super().__init__()
        prefix = f"model.layers.{index}."

        def linear(name: str) -> nn.Module:
            return leaves.linear(weights[f"{prefix}{name}_proj.weight"])

        self.norm = LayerNorm(norm_weight(weights, f"{prefix}input_layernorm"), config.norm_eps)
        self.query, self.key = linear("self_attn.q"), linear("self_attn.k")
        self.value, self.output = linear("self_attn.v"), linear("self_attn.o")
        self.attend = leaves.attention(index, config.layers[index])
        self.gate, self.up, self.down = linear("mlp.gate"), linear("mlp.up"), linear("mlp.down")

    def forward(self, x_BTD: Tensor, step: Any) -> Tensor:
        normed = self.norm(x_BTD)
        y_BTI = self.attend(self.query(normed), self.key(normed), self.value(normed), step)
        fed = self.down(F.silu(self.gate(normed)) * self.up(normed))
        return x_BTD + self.output(y_BTI) + fed  # type: ignore[no-any-return]


def norm_weight(weights: Mapping[str, Weight], name: str) -> Tensor:
    """A norm's weight, which no recipe quantizes."""
    weight = weights[f"{name}.weight"]
    assert isinstance(weight, Tensor)
    return weight
