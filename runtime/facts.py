"""Counts what a bundle's speed depends on: bytes that a step reads, text that a token holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyaya.runtime.manifest import Manifest


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


def program_bytes(manifest: Manifest) -> int:
    """Bytes of the program and the files that hold its weights."""
    return sum(
        entry.bytes for name, entry in manifest.files.items() if name.startswith(manifest.program)
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


@dataclass(frozen=True, kw_only=True)
class Density:
    """Of one language: Unicode characters a token of the shipped text.

    tokens_to_english: tokens of the text over those of the same text in English; None without one.
    """

    code: str
    name: str
    characters_per_token: float
    tokens_to_english: float | None


def parse_density(raw: Mapping[str, Any]) -> Density:
    """The Density that `asdict` and JSON made `raw` of."""
    return Density(**raw)
