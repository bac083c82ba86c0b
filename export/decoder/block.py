"""Builds the parallel block: x + attention(norm(x)) + mlp(norm(x)), one LayerNorm for both.

Shape suffixes: B batch, T tokens, D width, I inputs of a projection, O its outputs, H heads,
E head size.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from tinyaya.export.decoder.config import AttentionConfig, DecoderConfig
from tinyaya.quantize.quantizer import Weight


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


class HeadNorm(nn.Module):
    """LayerNorm of each head by itself, with a weight for each; x_BTI with heads laid flat."""

    def __init__(self, weight_HE: Tensor, eps: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight_HE)
        self.eps = eps

    def forward(self, x_BTI: Tensor) -> Tensor:
        weight_HE = self.get_buffer("weight")
        x_BTHE = x_BTI.unflatten(-1, weight_HE.shape)
        return (F.layer_norm(x_BTHE, x_BTHE.shape[-1:], eps=self.eps) * weight_HE).flatten(-2)


def head_norm(read: Callable[[str], Tensor], name: str, config: DecoderConfig) -> nn.Module:
    """Module: x_BTI -> x_BTI, the head norm of that name, or nothing where the model has none."""
    return HeadNorm(read(name), config.norm_eps) if config.head_norms else nn.Identity()


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
        self.query_norm, self.key_norm = (
            head_norm(partial(norm_weight, weights), f"{prefix}self_attn.{x}_norm", config)
            for x in "qk"
        )
        self.value, self.output = linear("self_attn.v"), linear("self_attn.o")
        self.attend = leaves.attention(index, config.layers[index])
        self.gate, self.up, self.down = linear("mlp.gate"), linear("mlp.up"), linear("mlp.down")

    def forward(self, x_BTD: Tensor, step: Any) -> Tensor:
        normed = self.norm(x_BTD)
        q_BTI, k_BTI = self.query_norm(self.query(normed)), self.key_norm(self.key(normed))
        y_BTI = self.attend(q_BTI, k_BTI, self.value(normed), step)
        fed = self.down(F.silu(self.gate(normed)) * self.up(normed))
        return x_BTD + self.output(y_BTI) + fed  # type: ignore[no-any-return]


def norm_weight(weights: Mapping[str, Weight], name: str) -> Tensor:
    """A norm's weight, which no recipe quantizes."""
    weight = weights[f"{name}.weight"]
    assert isinstance(weight, Tensor)
    return weight
