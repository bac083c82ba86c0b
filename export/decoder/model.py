"""Builds the decoder, which turns ids into logits, and lists the tensors that it is made of.

Shape suffixes: B batch, T tokens, D width, V vocabulary rows.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tinyaya.export.decoder.block import Block, LayerNorm, Leaves, norm_weight
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.quantize.quantizer import Weight

EMBEDDING, HEAD, FINAL_NORM = "model.embed_tokens", "lm_head", "model.norm"


def tensor_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of this config must hold, and no other."""
    width, ffn = config.width, config.ffn_width
    shapes: dict[str, tuple[int, ...]] = {f"{EMBEDDING}.weight": (config.vocab_size, width)}
    for index, layer in enumerate(config.layers):
        queries, keys = layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim
        norms = {
            "self_attn.q_norm": (layer.heads, layer.head_dim),
            "self_attn.k_norm": (layer.kv_heads, layer.head_dim),
        }
        shapes |= {
            f"model.layers.{index}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (width,),
                "self_attn.q_proj": (queries, width),
                "self_attn.k_proj": (keys, width),
                "self_attn.v_proj": (keys, width),
                "self_attn.o_proj": (width, queries),
                "mlp.gate_proj": (ffn, width),
                "mlp.up_proj": (ffn, width),
                "mlp.down_proj": (width, ffn),
                **(norms if config.head_norms else {}),
            }.items()
        }
    shapes[f"{FINAL_NORM}.weight"] = (width,)
    if not config.tied:
        shapes[f"{HEAD}.weight"] = (config.vocab_size, width)
    return shapes


class Decoder(nn.Module):
    """All layers, with a backend's leaves; weights are referred to by name, never copied."""

    def __init__(
        self, config: DecoderConfig, weights: Mapping[str, Weight], leaves: Leaves
    ) -> None:
        super().__init__()
        head = EMBEDDING if config.tied else HEAD
        self.embedding = leaves.embedding(weights[f"{EMBEDDING}.weight"])
        self.blocks = nn.ModuleList(
            Block(config, index, weights, leaves) for index in range(len(config.layers))
        )
        self.norm = LayerNorm(norm_weight(weights, FINAL_NORM), config.norm_eps)
        self.head = leaves.head(weights[f"{head}.weight"])
        self.logit_scale = config.logit_scale

    def hidden(self, ids_BT: Tensor, step: Any) -> Tensor:
        """x_BTD after the last block."""
        x_BTD = self.embedding(ids_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, step)
        return x_BTD  # type: ignore[no-any-return]

    def logits(self, x_BTD: Tensor) -> Tensor:
        """Logits_BTV of the given positions."""
        logits_BTV: Tensor = self.head(self.norm(x_BTD))
        return logits_BTV if self.logit_scale == 1.0 else logits_BTV * self.logit_scale

    def forward(self, ids_BT: Tensor, step: Any) -> Tensor:
        """Logits_B1V of the last position; sliced before the head, which is the largest matrix."""
        return self.logits(self.hidden(ids_BT, step)[:, -1:])
