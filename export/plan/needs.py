"""Counts what a bundle needs of a device: memory, and bytes that a step reads."""

from dataclasses import dataclass

from tinyaya.export.backends.base import FOOTPRINTS
from tinyaya.runtime import Manifest
from tinyaya.runtime.facts import KvLayer, bundle_facts, kv_read_bytes

_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a bundle needs: resident memory at its peak, and what a step reads."""

    memory_bytes: int
    weights_read_bytes: int
    context: int
    layers: tuple[KvLayer, ...]

    def bytes_per_token(self, depth: int) -> int:
        """Read by a step with `depth` tokens before it."""
        return self.weights_read_bytes + kv_read_bytes(self.layers, depth)


def bundle_needs(manifest: Manifest) -> Needs:
    """What a written bundle needs; weights and caches exactly, the rest as `plan` estimates it."""
    facts, footprint = bundle_facts(manifest), FOOTPRINTS[manifest.engine]
    caches = sum(shape.slots * shape.position_bytes for shape in manifest.cache)
    step = manifest.limits.chunk * 17 * manifest.model.width * _FLOAT_BYTES
    logits = manifest.model.vocab_size * _FLOAT_BYTES
    resident = int(footprint.resident_share * facts.model_bytes)
    return Needs(
        memory_bytes=footprint.engine_bytes + resident + caches + step + logits,
        weights_read_bytes=facts.weights_read_bytes,
        context=manifest.limits.context,
        layers=facts.layers,
    )
