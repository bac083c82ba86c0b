"""Keeps of a tensor what differs most from another, when neither fits into memory to be sorted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyaya.export.source.weights import StoredTensor

_LOW_BITS = 15  # of the 31 that a float32 has beside its sign


@dataclass(frozen=True, kw_only=True)
class LargestDifferences(StoredTensor):
    """A stored tensor where it differs from `base` by the threshold or more, `base` elsewhere."""

    stored: StoredTensor
    base: StoredTensor
    threshold: float

    @classmethod
    def of(
        cls, stored: StoredTensor, base: StoredTensor, density: float, blocks: Sequence[range]
    ) -> "LargestDifferences":
        """Keep the share `density` of all values; blocks: rows to read at a time."""

        def differences() -> Iterator[Tensor]:
            return ((stored.read(rows) - base.read(rows)).abs() for rows in blocks)

        count = int(density * sum(block.numel() for block in differences()))
        threshold = kth_largest(differences, max(1, count)) if density > 0 else float("inf")
        return cls(**stored.place(), stored=stored, base=base, threshold=threshold)

    def read(self, rows: range | None = None) -> Tensor:
        """See `StoredTensor`."""
        mine, bases = self.stored.read(rows), self.base.read(rows)
        return torch.where((mine - bases).abs() >= self.threshold, mine, bases)


def kth_largest(blocks: Callable[[], Iterable[Tensor]], k: int) -> float:
    """The k-th largest of values in float32, none below 0, which are read twice.

    Their bits, read as whole numbers, have the same order: the upper ones are counted, then the
    lower ones of those values whose upper ones are right.
    """
    tops = (_bits(block) >> _LOW_BITS for block in blocks())
    top, k = _place(tops, 1 << 31 - _LOW_BITS, k)
    bits = map(_bits, blocks())
    lows = (x[x >> _LOW_BITS == top] & ((1 << _LOW_BITS) - 1) for x in bits)
    low, _ = _place(lows, 1 << _LOW_BITS, k)
    found = torch.tensor(top << _LOW_BITS | low, dtype=torch.int32)
    return float(found.view(torch.float32))


def _bits(block: Tensor) -> Tensor:
    return block.reshape(-1).view(torch.int32)


def _place(blocks: Iterable[Tensor], size: int, k: int) -> tuple[int, int]:
    """The k-th largest of whole numbers below `size`, and its rank among those that equal it."""
    counts = torch.zeros(size, dtype=torch.int64)
    for block in blocks:
        counts += torch.bincount(block, minlength=size)
    at_least = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(at_least, k))
    value = size - 1 - place
    return value, k - int(at_least[place] - counts[value])
