"""The name of an engine in, the class that runs its programs out; nothing is imported before.

Shape suffixes: V vocabulary, T tokens of a step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tinyaya.runtime.errors import EngineMissingError, OptionError
from tinyaya.runtime.manifest import Manifest


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


@dataclass(frozen=True, kw_only=True)
class EngineSource:
    """Where an engine's class is, the package that it needs, and what can be taken instead.

    install: what pip is told, where that is not the package's name.
    """

    module: str
    name: str
    package: str
    install: str = ""
    instead: str = ""


ENGINES: Mapping[str, EngineSource] = {
    "onnx": EngineSource(
        module="tinyaya.runtime.engines.onnx", name="OnnxEngine", package="onnxruntime"
    ),
    "executorch": EngineSource(
        module="tinyaya.runtime.engines.executorch",
        name="ExecutorchEngine",
        package="executorch",
        install="'tinyaya-export[export]'",
        instead="; or take the engine that needs no torch: --engine native",
    ),
}

CHOICES: Mapping[str, Mapping[str, EngineSource]] = {
    "onnx": {},
    "executorch": {
        "torch": ENGINES["executorch"],
        "native": EngineSource(
            module="tinyaya.runtime.engines.native",
            name="NativeEngine",
            package="tinyaya-native",
            instead=" from its wheel, which `make native` builds and installs; "
            "or take the official binding: --engine torch",
        ),
    },
}
"""The engines to choose from where there are several; nothing else is taken where one is named."""


def load_engine(
    kind: str, name: str | None = None
) -> Callable[[Path, Manifest, int | None], Engine]:
    """Import the engine of the kind, or the one of that name among the kind's CHOICES.

    Called with folder, manifest and threads, it loads a program. Raises OptionError for a name
    that is no choice, and EngineMissingError if the engine's package is not installed.
    """
    choices = CHOICES.get(kind, {})
    if name is not None and name not in choices:
        known = f"known: {', '.join(choices)}" if choices else "which leaves no choice: name none"
        raise OptionError(f"engine is {name!r}; the bundle is for {kind}, {known}")
    source = ENGINES[kind] if name is None else choices[name]
    try:
        engine: Callable[[Path, Manifest, int | None], Engine] = getattr(
            import_module(source.module), source.name
        )
    except ImportError as error:
        raise EngineMissingError(
            f"the bundle runs on {source.package}, which is not installed ({error}); "
            f"pip install {source.install or source.package}{source.instead}"
        ) from error
    return engine


def check_sizes(places: Sequence[NDArray[Any]], state: EngineState) -> None:
    """Raise ValueError where the arrays of `state` do not fit those of `places`."""
    expected = [(place.shape, place.dtype) for place in places]
    if expected != [(held.shape, held.dtype) for held in state.caches]:
        raise ValueError("the caches are of other sizes")
