"""Defines what an engine does: steps, rewinds, and what its caches hold.

Shape suffixes: V vocabulary, T tokens of a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Mark(NamedTuple):
    """Where caches stand: the end that was written, and whether the preamble is still to come."""

    written: int
    restoring: bool


@dataclass(frozen=True, kw_only=True)
class EngineState:
    """What a program's caches hold: one array each of keys and of values, a layer after the other.

    [kv_heads, slots in use, head_dim] for onnx, [slots in use, kv_heads, head_dim] for executorch.
    """

    mark: Mark
    caches: tuple[NDArray[Any], ...]


class Engine(Protocol):
    """A loaded program and its caches."""

    rows: int
    """Positions of a step, at most, of which `step_rows` tells; 1: of the last alone."""

    def step(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """Feed 1 to `chunk` ids at `position`; logits_V after the last, the caller's own array.

        Position 0 starts anew; any other must be the end of what was fed, or one that
        `can_rewind` allows.
        """

    def step_rows(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `step`, of 1 to `rows` ids; logits_TV after each."""

    def restore(self) -> None:
        """Start anew, as if the ids of the manifest's preamble had been fed at position 0.

        The next step's position is their count or less. Called only where there is a preamble.
        """

    def can_rewind(self, position: int) -> bool:
        """Whether a step at `position`, before the end, would see all the keys that it needs."""

    def keeps(self, position: int, end: int) -> bool:
        """Whether `can_rewind(position)` would hold once `end` positions are filled."""

    def take(self, position: int) -> EngineState:
        """Copy what the caches hold of the first `position` positions."""

    def put(self, state: EngineState) -> None:
        """Replace what the caches hold. Raises ValueError for a state of other sizes."""

    def fork(self) -> "Engine":
        """Another set of caches for the same program, empty; weights are shared."""


def check_sizes(places: Sequence[NDArray[Any]], state: EngineState) -> None:
    """Raise ValueError where the arrays of `state` do not fit those of `places`."""
    expected = [(place.shape, place.dtype) for place in places]
    if expected != [(held.shape, held.dtype) for held in state.caches]:
        raise ValueError("the caches are of other sizes")
