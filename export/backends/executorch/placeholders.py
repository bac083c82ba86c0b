"""Replaces placeholders in a .pte by the values that it was to hold.

What a program carries of its own results is known only when it runs. So it is lowered with
placeholders of the same shape and type, and their bytes are written over.
"""

from collections.abc import Mapping
from mmap import mmap
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

_MARK_SEED, _MARK_LENGTH, _BOUND = 20_250_919, 16, 100


def placeholder(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Random whole numbers: another row for every name, after a mark that all of a dtype share."""
    parts = [
        torch.randint(-_BOUND, _BOUND, (length,), generator=torch.Generator().manual_seed(seed))
        for seed, length in (
            (_MARK_SEED, _MARK_LENGTH),
            (crc32(name.encode()), torch.Size(shape).numel() - _MARK_LENGTH),
        )
    ]
    return torch.cat(parts).to(dtype).reshape(shape)


def fill_placeholders(path: Path, values: Mapping[str, Tensor]) -> None:
    """Write the values of each name over its placeholder in the file, which holds it once."""
    left = {
        _bytes(placeholder(name, tuple(value.shape), value.dtype)): _bytes(value)
        for name, value in values.items()
    }
    assert len(left) == len(values)
    marks = {(value.dtype.itemsize * _MARK_LENGTH, value.nbytes) for value in values.values()}
    found = {(held[:length], size) for held in left for length, size in marks if len(held) == size}
    with path.open("r+b") as file, mmap(file.fileno(), 0) as data:
        for mark, size in found:
            at = data.find(mark)
            while at >= 0:
                value = left.pop(data[at : at + size], None)
                if value is not None:
                    data[at : at + size] = value
                at = data.find(mark, at + 1)
    if left:
        raise AssertionError(f"{len(left)} of {len(values)} placeholders are not in {path}")


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()
