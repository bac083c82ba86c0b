"""Keeps the caches of a .pte as an engine does, whoever runs the program.

Shape suffixes: V vocabulary, T tokens of a step that a program tells of.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tinyaya.runtime.engines.base import EngineState, Mark, check_sizes
from tinyaya.runtime.engines.interface import (
    PTE_CACHE_PARTS,
    ROWS_METHOD,
    attention_name,
    restore_offset,
)
from tinyaya.runtime.engines.mapped_files import release_mapped
from tinyaya.runtime.errors import ProgramError
from tinyaya.runtime.manifest import Manifest


class Program(Protocol):
    """The method `forward` of a loaded .pte."""

    rows: int
    """What its constant method ROWS_METHOD says; 1 where there is none."""

    def forward(self, ids: Sequence[int], start: int) -> NDArray[np.float32]:
        """logits_TV of the last `told(len(ids), rows)` of `ids`, the caller's own array."""

    def buffer(self, name: str) -> NDArray[Any]:
        """A buffer of the program, such as a cache: its own memory, not a copy."""


def told(count: int, rows: int) -> int:
    """Of how many positions a step of `count` tokens tells: all up to `rows`, else the last."""
    return count if count <= rows else 1


@dataclass
class _Shared:
    """A program with its caches, and the engine whose tokens they hold."""

    program: Program
    owner: "PteEngine | None" = None


class PteEngine:
    """What the engines for .pte files have in common; see `Engine`."""

    def __init__(self, folder: Path, manifest: Manifest, program: Program) -> None:
        self.rows = program.rows
        self._context = context = manifest.limits.context
        self._preamble = len(manifest.preamble.ids) if manifest.preamble else 0
        self._restoring = False
        self._window = manifest.model.window
        self._shapes = manifest.cache
        self._slots = {shape.slots for shape in manifest.cache if shape.slots < context}
        self._written = 0
        self._shared = _Shared(program, self)
        self._parked: EngineState | None = None  # a fork's caches, while another has the program
        release_mapped(folder)

    def step(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `Engine.step`."""
        logits_V: NDArray[np.float32] = self._run(ids, position)[-1]
        return logits_V

    def step_rows(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `Engine.step_rows`."""
        assert len(ids) <= self.rows
        return self._run(ids, position)

    def _run(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """logits_TV of the positions that the program tells of."""
        self._own()
        restoring = self._restoring and position > 0
        start = position + restore_offset(self._context) if restoring else position
        logits_TV = self._shared.program.forward(ids, start)
        if len(logits_TV) != (expected := told(len(ids), self.rows)):
            raise ProgramError(
                f"the program tells of {len(logits_TV)} positions of a step of {len(ids)} tokens; "
                f"expected {expected}, by its {ROWS_METHOD}; export the bundle again"
            )
        self._restoring = False
        end = position + len(ids)
        self._written = end if position == 0 else max(self._written, end)
        return logits_TV

    def restore(self) -> None:
        """As `Engine.restore`: the program does it in its next step."""
        assert self._preamble
        self._restoring, self._written = True, self._preamble

    def buffer(self, name: str) -> NDArray[Any]:
        """A buffer of the program, such as a cache: its own memory, not a copy."""
        return self._shared.program.buffer(name)

    def can_rewind(self, position: int) -> bool:
        """As `Engine.can_rewind`."""
        return self.keeps(position, self._written)

    def keeps(self, position: int, end: int) -> bool:
        """As `Engine.keeps`.

        Slot s of a ring holds the last position written with p % slots == s, so all from
        written - slots on are there, and `position` sees from position - window + 1 on.
        """
        if position == 0 or self._window is None:
            return True
        first = max(0, position - self._window + 1)
        return all(first >= max(end, self._written) - slots for slots in self._slots)

    def take(self, position: int) -> EngineState:
        """As `Engine.take`: rings hold what was written after `position`, too."""
        if self._parked is not None:
            return self._parked
        mark = Mark(written=self._written if position else 0, restoring=self._restoring)
        count = 0 if mark.restoring else mark.written
        return EngineState(
            mark=mark, caches=tuple(cache[:count].copy() for cache in self._caches())
        )

    def put(self, state: EngineState) -> None:
        """As `Engine.put`."""
        self._own()
        count = 0 if state.mark.restoring else state.mark.written
        places = [cache[:count] for cache in self._caches()]
        check_sizes(places, state)
        for place, held in zip(places, state.caches, strict=True):
            place[:] = held
        self._written, self._restoring = state.mark

    def fork(self) -> Self:
        """As `Engine.fork`: the program has one set of caches, in which forks take turns."""
        other = copy(self)
        other._written, other._restoring = 0, False
        empty = tuple(cache[:0].copy() for cache in self._caches())
        other._parked = EngineState(mark=Mark(written=0, restoring=False), caches=empty)
        return other

    def _own(self) -> None:
        """Have the program's caches hold this fork's tokens; those of another are put aside."""
        owner = self._shared.owner
        if owner is self:
            return
        if owner is not None:
            owner._parked = owner.take(owner._written)
        parked, self._parked, self._shared.owner = self._parked, None, self
        if parked is not None:
            self.put(parked)

    def _caches(self) -> list[NDArray[Any]]:
        """Keys and values of each layer, [slots, kv_heads, head_dim]."""
        layers = map(attention_name, range(len(self._shapes)))
        return [self.buffer(f"{layer}.{part}")[0] for layer in layers for part in PTE_CACHE_PARTS]
