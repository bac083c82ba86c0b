"""Counts the slots of each layer's cache, and says which positions a ring of slots holds.

Shape suffixes: T tokens of a step, S slots.
"""

import torch
from torch import Tensor

from tinyaya.export.decoder.config import AttentionConfig
from tinyaya.export.options import Limits


def cache_slots(attention: AttentionConfig, limits: Limits) -> int:
    """Slots that a layer needs.

    A step of up to `chunk` tokens writes before it attends, so a window layer keeps what its first
    query still sees and what its last one adds: window + chunk - 1 slots. Other layers hold all.
    """
    if attention.window is None:
        return limits.context
    return min(limits.context, attention.window + limits.chunk - 1)


def is_ring(attention: AttentionConfig, limits: Limits) -> bool:
    """Whether the window binds within the context, so that old slots are written over."""
    return attention.window is not None and attention.window < limits.context


def ring_mask(queries_T: Tensor, slots: int, window: int) -> Tensor:
    """Mask_TS of 0 and -inf over a ring after the positions `queries_T` were written to it.

    Slot s holds the newest position p <= max(queries) with p % slots == s (negative: still empty);
    a query q sees it iff q - window < p <= q.
    """
    newest = queries_T[-1]
    positions_S = newest - torch.remainder(newest - torch.arange(slots), slots)
    age_TS = queries_T[:, None] - positions_S[None]
    visible = (age_TS >= 0) & (age_TS < window) & (positions_S >= 0)[None]
    return torch.where(visible, 0.0, -torch.inf)
