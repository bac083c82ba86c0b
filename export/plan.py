"""How many bytes an export takes on disk, on the device and here, before any work is done."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from export.backends import Backend
from export.checkpoint import Checkpoint
from export.decoder.cache import cache_slots
from export.decoder.config import DecoderConfig
from export.decoder.model import tensor_shapes
from export.errors import OptionsError
from export.options import Limits
from quantize.recipe import Recipe
from quantize.roles import Role, role_of

_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimates in bytes; weights and cache are exact, peaks rest on measured shares."""

    bundle_bytes: int
    weights_bytes: int
    kv_cache_bytes: int
    device_peak_bytes: int
    export_peak_bytes: int
    export_disk_bytes: int


def plan_export(
    checkpoint: Checkpoint, recipe: Recipe, limits: Limits, backend: Backend, preamble: int = 0
) -> Plan:
    """Estimates for one backend; reads only the checkpoint's headers.

    preamble: how many ids it has.
    """
    config, footprint = checkpoint.config, backend.footprint
    weights = weights_bytes(config, recipe, backend)
    cache = kv_cache_bytes(config, limits)
    rope = 2 * limits.context * config.layers[0].head_dim // 2 * _FLOAT_BYTES
    tokenizer = (checkpoint.folder / "tokenizer.json").stat().st_size
    first = preamble_bytes(config, preamble)
    bundle = weights + rope + tokenizer + first + footprint.graph_bytes * len(config.layers)
    step = limits.chunk * (8 * config.width + 3 * config.ffn_width) * _FLOAT_BYTES
    logits = config.vocab_size * _FLOAT_BYTES
    packed = int(footprint.resident_share * weights)
    device = footprint.engine_bytes + packed + cache + first + step + logits
    codes = sum(
        prod(shape) * (1 if recipe.precision(role_of(name)) else _FLOAT_BYTES)
        for name, shape in tensor_shapes(config).items()
    )
    export = footprint.export_bytes + codes + int(footprint.export_share * weights)
    return Plan(
        bundle_bytes=bundle,
        weights_bytes=weights,
        kv_cache_bytes=cache,
        device_peak_bytes=device,
        export_peak_bytes=export,
        export_disk_bytes=bundle,
    )


def weights_bytes(config: DecoderConfig, recipe: Recipe, backend: Backend) -> int:
    """Bytes of all weights as this backend stores them."""
    total = 0
    for name, shape in tensor_shapes(config).items():
        role = role_of(name)
        copies = backend.table_copies() if config.tied and role is Role.EMBEDDING else 1
        total += copies * backend.stored_bytes(shape, recipe.precision(role))
    return total


def kv_cache_bytes(config: DecoderConfig, limits: Limits) -> int:
    """Bytes of all key and value caches, in float32."""
    return sum(
        2 * cache_slots(layer, limits) * layer.kv_heads * layer.head_dim * _FLOAT_BYTES
        for layer in config.layers
    )


def preamble_bytes(config: DecoderConfig, count: int) -> int:
    """Bytes of the keys and values of `count` ids, in float32."""
    return sum(
        2 * count * layer.kv_heads * layer.head_dim * _FLOAT_BYTES for layer in config.layers
    )


def check_resources(
    checkpoint: Checkpoint,
    recipe: Recipe,
    limits: Limits,
    backends: Sequence[Backend],
    target: Path,
    preamble: int = 0,
) -> None:
    """Raise OptionsError if the disk or the memory here will not suffice."""
    plans = [plan_export(checkpoint, recipe, limits, backend, preamble) for backend in backends]
    disk = sum(plan.export_disk_bytes for plan in plans)
    memory = max(plan.export_peak_bytes for plan in plans)
    folder = next(path for path in target.absolute().parents if path.exists())
    if (free := shutil.disk_usage(folder).free) < disk:
        raise OptionsError(
            f"the export needs {_gb(disk)} on disk, {folder} has {_gb(free)} free; "
            "free space or choose another --out"
        )
    if (available := available_memory_bytes()) < memory:
        raise OptionsError(
            f"the export needs {_gb(memory)} of memory, {_gb(available)} is available; "
            "close programs or use a larger machine"
        )


def available_memory_bytes() -> int:
    """Memory that can be had without swapping, from /proc/meminfo; without it, no limit."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 1 << 62
    rows = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
