"""One layer of Tiny Aya's sizes: the operator takes no longer than the official one."""

import ctypes as c
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.native.test_attention import Attention

pytestmark = pytest.mark.serial

HEADS, KV_HEADS, SIZE = 16, 4, 128
SIZES = {"tokens": 1, "heads": HEADS, "kv_heads": KV_HEADS, "size": SIZE, "scale": SIZE**-0.5}
ROUNDS = 15


@pytest.fixture
def library(native: Path) -> Iterator[c.CDLL]:
    """One thread for both, as the figure is time of the processor."""
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401  registers llama::

    from tinyaya.runtime.engines.native import load_library

    library, threads = load_library(), torch.get_num_threads()
    library.tinyaya_threads(1)
    torch.set_num_threads(1)
    yield library
    torch.set_num_threads(threads)


def best_ms(functions: list[Callable[[], object]]) -> list[float]:
    """Least time of the processor of each, in turns."""
    times: list[list[int]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, taken in zip(functions, times, strict=True):
            before = time.process_time_ns()
            function()
            taken.append(time.process_time_ns() - before)
    return [min(taken) / 1e6 for taken in times]


@pytest.mark.parametrize("masked", [False, True], ids=["causal", "ring"])
def test_decode_at_4000_is_no_slower_than_the_official_operator(
    library: c.CDLL, masked: bool
) -> None:
    generator = np.random.default_rng(0)
    slots, start = 4223, 0 if masked else 4000
    q = generator.normal(size=(1, 1, HEADS, SIZE)).astype(np.float32)
    keys, values = (
        generator.normal(size=(1, slots, KV_HEADS, SIZE)).astype(np.float32) for _ in range(2)
    )
    codes = [(20 * cache).astype(np.int8) for cache in (keys, values)]
    mask, y = np.zeros((1, slots), np.float32), np.empty_like(q)

    def call(keys: np.ndarray, values: np.ndarray) -> Attention:
        return Attention(
            q=q.ctypes.data,
            keys=keys.ctypes.data,
            values=values.ctypes.data,
            mask=mask.ctypes.data if masked else None,
            y=y.ctypes.data,
            slots=slots,
            start=start,
            mask_stride=slots,
            causal=not masked,
            codes=keys.dtype == np.int8,
            **SIZES,
        )

    own, own_codes = call(keys, values), call(*codes)
    tensors = [torch.from_numpy(x) for x in (q, keys, values)]
    bias = torch.from_numpy(mask) if masked else None
    official_ms, own_ms, codes_ms = best_ms(
        [
            lambda: torch.ops.llama.custom_sdpa(*tensors, start, bias, 0.0, not masked),
            lambda: library.tinyaya_attend(c.byref(own)),
            lambda: library.tinyaya_attend(c.byref(own_codes)),
        ]
    )
    assert own_ms <= official_ms
    assert codes_ms <= official_ms  # which would be turned to float32 before
