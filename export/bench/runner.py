"""A contender's file or folder in, a Runner out: ids at a position in, logits of the last out.

Neither side loads a tokenizer: what is compared is programs, weights and caches. Nothing here
imports torch, so that the memory of a process is that of its contender.
Shape suffixes: V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime import EngineMissingError, Manifest, open_bundle
from runtime.engines import Engine, load_engine


@dataclass(frozen=True, kw_only=True)
class Loading:
    """What a contender is loaded with; context: None leaves it to the contender.

    states: folder for what a contender computes once and later processes read; None: keeps none.
    engine: one of `runtime.engines.CHOICES`, None: the default of the bundle's kind.
    """

    path: Path
    context: int | None
    threads: int
    states: Path | None = None
    engine: str | None = None


@dataclass(frozen=True, kw_only=True)
class KvLayer:
    """One layer's cache as a step reads it: `window` positions at most, None for all."""

    window: int | None
    position_bytes: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a contender is; a step reads `weights_read_bytes` and what its caches hold.

    label: tells contenders of one engine apart. chunk: tokens of a step, at most. kv_type: how
    caches hold keys and values.
    """

    engine: str
    label: str
    model_bytes: int
    parameters: int
    vocab_size: int
    context: int
    weights_read_bytes: int
    layers: tuple[KvLayer, ...]
    model_type: str = ""
    chunk: int = 0
    kv_type: str = ""

    def kv_read_bytes(self, depth: int) -> int:
        """Bytes of keys and values that a step reads with `depth` tokens before it."""
        return kv_read_bytes(self.layers, depth)


def kv_read_bytes(layers: Sequence[KvLayer], depth: int) -> int:
    """Bytes of keys and values that a step reads with `depth` tokens before it."""
    return sum(layer.position_bytes * min(depth + 1, layer.window or depth + 1) for layer in layers)


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


def bundle_facts(manifest: Manifest, engine: str | None = None) -> Facts:
    """What a bundle is; counts the program's files, neither tokenizer nor reports.

    engine: the one that was chosen for it, if any.
    """
    model = manifest.model
    model_bytes = program_bytes(manifest)
    return Facts(
        engine=manifest.engine,
        label=_label(manifest, engine),
        model_bytes=model_bytes,
        parameters=model.parameters,
        vocab_size=model.vocab_size,
        context=manifest.limits.context,
        weights_read_bytes=model_bytes,
        layers=tuple(
            KvLayer(
                window=model.window if shape.slots < manifest.limits.context else None,
                position_bytes=shape.position_bytes,
            )
            for shape in manifest.cache
        ),
        model_type=_model_type(manifest),
        chunk=manifest.limits.chunk,
        kv_type=_kv_type(manifest),
    )


def prepare_bundle(loading: Loading) -> Callable[[], Runner]:
    """Import what the bundle's engine needs; the function returned loads the bundle.

    Its context is in its program, and it needs no states.
    """
    manifest = open_bundle(loading.path, check_hashes=False).manifest
    engine = load_engine(manifest.engine, loading.engine)
    return lambda: BundleRunner(
        engine(loading.path, manifest, loading.threads), manifest, loading.engine
    )


def _label(manifest: Manifest, engine: str | None) -> str:
    """Engine, recipe, and how caches hold keys and values."""
    kind = f"{manifest.engine} ({engine})" if engine else manifest.engine
    return f"{kind} {manifest.recipe['name']} kv {_kv_type(manifest)}"


def _model_type(manifest: Manifest) -> str:
    """As llama-bench writes it: architecture, size, precision."""
    model = manifest.model
    return f"{model.model_type} {model.parameters / 1e9:.2f}B {manifest.recipe['name']}"


def _kv_type(manifest: Manifest) -> str:
    return "/".join(dict.fromkeys(shape.dtype for shape in manifest.cache))


def program_bytes(manifest: Manifest) -> int:
    """Bytes of the program and the files that hold its weights."""
    return sum(
        entry.bytes for name, entry in manifest.files.items() if name.startswith(manifest.program)
    )


@dataclass(frozen=True, kw_only=True)
class RunnerSource:
    """Where a `Prepare` is."""

    module: str
    name: str


Prepare = Callable[[Loading], Callable[[], Runner]]

# A row may name a package above this one: it is imported only when somebody asks for it.
RUNNERS: Mapping[str, RunnerSource] = {
    "bundle": RunnerSource(module="export.bench.runner", name="prepare_bundle"),
    "llama.cpp": RunnerSource(module="benchmarks.peers.llama_cpp", name="prepare_llama"),
}


def find_prepare(kind: str) -> Prepare:
    """Import a function of the table; given a Loading, it returns one that loads.

    Raises EngineMissingError if its package is not installed.
    """
    source = RUNNERS[kind]
    try:
        prepare: Prepare = getattr(import_module(source.module), source.name)
    except ModuleNotFoundError as error:
        raise EngineMissingError(
            f"{kind} is not installed ({error}); pip install 'tinyaya-export[bench]'"
        ) from error
    return prepare
