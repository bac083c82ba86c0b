"""Attends over a whole sequence without caches, as the definition says it: the truth for tests.

Shape suffixes: B batch, T queries and keys, I flat heads, H query heads,
K key-value heads, E head size.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyaya.export.decoder.config import AttentionConfig
from tinyaya.export.decoder.rope import rope_table, rotate

# What a cache gives back of the rotated keys k_BTKE and the values v_BTKE that it was given.
Cache = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class SequenceAttention(nn.Module):
    """Causal, windowed where the config says so, grouped queries, scale 1 / sqrt(head size)."""

    def __init__(self, config: AttentionConfig, rope_theta: float, cache: Cache) -> None:
        super().__init__()
        self.config, self.rope_theta, self.cache = config, rope_theta, cache

    def forward(self, q_BTI: Tensor, k_BTI: Tensor, v_BTI: Tensor, step: None) -> Tensor:
        tokens = q_BTI.shape[1]
        q_BTHE, k_BTKE, v_BTKE = (
            x.unflatten(-1, (-1, self.config.head_dim)) for x in (q_BTI, k_BTI, v_BTI)
        )
        if self.config.rotary:
            cos_TP, sin_TP = rope_table(tokens, self.config.head_dim, self.rope_theta)
            q_BTHE, k_BTKE = rotate(q_BTHE, cos_TP, sin_TP), rotate(k_BTKE, cos_TP, sin_TP)
        k_BTKE, v_BTKE = self.cache(k_BTKE, v_BTKE)
        age_TT = torch.arange(tokens)[:, None] - torch.arange(tokens)
        visible_TT = (age_TT >= 0) & (age_TT < (self.config.window or tokens))
        q_BHTE, k_BKTE, v_BKTE = (x.transpose(1, 2) for x in (q_BTHE, k_BTKE, v_BTKE))
        y_BHTE = F.scaled_dot_product_attention(
            q_BHTE, k_BKTE, v_BKTE, attn_mask=visible_TT, enable_gqa=True
        )
        return y_BHTE.transpose(1, 2).flatten(-2)
