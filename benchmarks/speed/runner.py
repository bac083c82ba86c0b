"""Runs a bundle as a contender: ids at a position in, logits of the last out.

Neither side loads a tokenizer: what is compared is programs, weights and caches. Nothing here
imports torch, so that the memory of a process is that of its contender.
Shape suffixes: V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tinyaya.runtime import Manifest, open_bundle
from tinyaya.runtime.engines import load_engine
from tinyaya.runtime.engines.base import Engine
from tinyaya.runtime.facts import Facts, bundle_facts


@dataclass(frozen=True, kw_only=True)
class Loading:
    """What a contender is loaded with; context: None leaves it to the contender.

    states: folder for what a contender computes once and later processes read; None: keeps none.
    engine: one of `tinyaya.runtime.engines.CHOICES`, None: the default of the bundle's kind.
    """

    path: Path
    context: int | None
    threads: int
    states: Path | None = None
    engine: str | None = None


class Runner(Protocol):
    """A loaded contender."""

    @property
    def facts(self) -> Facts:
        """Its sizes."""

    def feed(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """Feed any number of ids at `position`, 0 (starts anew) or the end; logits_V."""

    def jump(self, ids: Sequence[int]) -> None:
        """Stand where feeding `ids` at 0 would end; steps from there take the time they then take.

        What caches hold is unspecified, if the time of a step does not depend on it.
        """


class BundleRunner:
    """A loaded bundle; prompts are cut into its chunks."""

    def __init__(self, engine: Engine, manifest: Manifest, name: str | None = None) -> None:
        self._engine, self._manifest, self._name = engine, manifest, name

    @property
    def facts(self) -> Facts:
        """As `Runner.facts`."""
        return bundle_facts(self._manifest, self._name)

    def feed(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `Runner.feed`."""
        chunk = self._manifest.limits.chunk
        for start in range(0, len(ids), chunk):
            logits_V = self._engine.step(ids[start : start + chunk], position + start)
        return logits_V

    def jump(self, ids: Sequence[int]) -> None:
        """As `Runner.jump`: feeds the last chunk alone.

        Which slots a step reads and writes follows from its position, in both engines. Whoever
        times steps must have made all pages of the caches resident.
        """
        start = max(0, len(ids) - self._manifest.limits.chunk)
        self.feed(ids[start:], start)


def prepare_bundle(loading: Loading) -> Callable[[], Runner]:
    """Import what the bundle's engine needs; the function returned loads the bundle.

    Its context is in its program, and it needs no states.
    """
    manifest = open_bundle(loading.path, check_hashes=False).manifest
    engine = load_engine(manifest.engine, loading.engine)
    return lambda: BundleRunner(
        engine(loading.path, manifest, loading.threads), manifest, loading.engine
    )
