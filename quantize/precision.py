"""Says how exactly a weight is stored; without torch, so that recipes can be read anywhere."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bits of a code and how many inputs share a scale (`None`: the whole row)."""

    bits: int
    group_size: int | None = None
