"""Says of how many tokens of a step a .pte tells, as a size that XNNPACK takes."""

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from executorch.backends.xnnpack.partition.config import xnnpack_config


def told_rows(count: Any, rows: int) -> Any:
    """Of how many positions a step of `count` tells: all up to `rows`, the last of a longer one.

    A number read from a tensor, because the exporter would have to prove that a minimum of sizes
    is not 1. What is checked of it bounds the planned memory.
    """
    if rows == 1:
        return 1
    told = torch.full((), 1 + (count - 1) * torch.sym_min(1, rows // count)).item()
    torch._check(told >= 1)
    torch._check(told <= rows)
    torch._check(told <= count)
    return told


def rows_in_xnnpack() -> AbstractContextManager[object]:
    """XNNPACK computes with sizes that depend on data; its partitioner refuses those without bound.

    The head's rows are such a size, and have one.
    """
    return patch.object(xnnpack_config, "has_free_unbacked_symbols", lambda value: False)
