"""Ring caches: the mask shows each query its window, whatever was written over before."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyaya.export.decoder.cache import cache_slots, is_ring, ring_mask
from tinyaya.export.decoder.config import AttentionConfig
from tinyaya.export.options import Limits


def layer(window: int | None) -> AttentionConfig:
    return AttentionConfig(heads=2, kv_heads=1, head_dim=4, window=window, rotary=True)


def visible_positions(ring: list[int | None], row: torch.Tensor) -> list[int | None]:
    assert set(row.tolist()) <= {0.0, -torch.inf}
    return [position for position, value in zip(ring, row, strict=True) if value == 0]


def check_ring(window: int, chunk: int, steps: list[int]) -> None:
    """Write positions into slots step by step; every query must see its window, nothing else."""
    limits = Limits(context=max(chunk, sum(steps)), chunk=chunk)
    slots = cache_slots(layer(window), limits)
    ring: list[int | None] = [None] * slots
    start = 0
    for size in steps:
        queries = range(start, start + size)
        for position in queries:
            ring[position % slots] = position
        mask_TS = ring_mask(torch.tensor(queries), slots, window)
        assert mask_TS.shape == (size, slots)
        for query, row in zip(queries, mask_TS, strict=True):
            seen = visible_positions(ring, row)
            assert sorted(seen, key=str) == sorted(
                range(max(0, query - window + 1), query + 1), key=str
            )
        start += size


@given(st.data(), st.integers(1, 12), st.integers(1, 9))
def test_every_query_sees_its_window(data: st.DataObject, window: int, chunk: int) -> None:
    sizes = st.lists(st.integers(1, chunk), min_size=1, max_size=20)
    check_ring(window, chunk, data.draw(sizes))


@pytest.mark.parametrize("chunk", range(1, 9))
@pytest.mark.parametrize("size", range(1, 9))
def test_every_chunk_size_wraps_several_times(chunk: int, size: int) -> None:
    check_ring(window=5, chunk=chunk, steps=[min(size, chunk)] * 24)


def test_one_slot_less_would_lose_a_key() -> None:
    window, chunk = 5, 4
    slots = cache_slots(layer(window), Limits(context=100, chunk=chunk)) - 1
    mask_TS = ring_mask(torch.arange(20, 20 + chunk), slots, window)
    assert (mask_TS[0] == 0).sum() == window - 1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 80))
def test_slots_of_a_window_layer(window: int, chunk: int, more: int) -> None:
    limits = Limits(context=chunk + more, chunk=chunk)
    assert cache_slots(layer(window), limits) == min(chunk + more, window + chunk - 1)
    assert is_ring(layer(window), limits) == (window < chunk + more)


def test_global_layer_holds_the_context() -> None:
    limits = Limits(context=77, chunk=8)
    assert cache_slots(layer(None), limits) == 77
    assert not is_ring(layer(None), limits)
