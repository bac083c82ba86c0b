"""Says whether an export fits this machine, and about how long it takes here."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

import torch

from tinyaya.export.backends.base import Backend
from tinyaya.export.bundle.resolve import ResolvedExport
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.plan.estimate import plan_export, weights_bytes
from tinyaya.export.proof.probe import probe_length
from tinyaya.export.system.proc import available_memory_bytes
from tinyaya.runtime.errors import OptionError

# Seconds on a machine of this rate, by docs/decisions.md; all scale with the rate.
_RATE = 200e9  # float32 operations a second in matrix products
_START_S = 4.0
_READ_S, _ROUND_S, _FIT_S = 0.8e-8, 3.4e-8, 1.6e-6  # a weight
_PROBED_SIZE, _PROBES = 1024, 3  # of the products that measure a machine's rate


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an export needs, and what is there."""

    memory_bytes: int
    memory_available_bytes: int
    disk_bytes: int
    disk_free_bytes: int

    @property
    def fits(self) -> bool:
        """Whether there is enough of both."""
        return (
            self.memory_bytes <= self.memory_available_bytes
            and self.disk_bytes <= self.disk_free_bytes
        )

    def told(self, seconds: float) -> str:
        """One line for people; seconds: as `export_seconds` estimates them."""
        return (
            f"{'fits' if self.fits else 'does not fit'}: {about(seconds)}, "
            f"{_gb(self.memory_bytes)} of memory ({_gb(self.memory_available_bytes)} available), "
            f"{_gb(self.disk_bytes)} of disk ({_gb(self.disk_free_bytes)} free)"
        )


def judge_export(export: ResolvedExport, backends: Mapping[str, Backend], target: Path) -> Verdict:
    """The verdict on one export to all `backends`, whose bundles go to `target`."""
    plans = [plan_export(export, backend) for backend in backends.values()]
    return Verdict(
        memory_bytes=max(plan.export_peak_bytes for plan in plans),
        memory_available_bytes=available_memory_bytes(),
        disk_bytes=sum(plan.export_disk_bytes for plan in plans),
        disk_free_bytes=shutil.disk_usage(_existing(target)).free,
    )


def check_fits(verdict: Verdict, target: Path) -> None:
    """Raise OptionError if memory or the disk of `target` is too small."""
    if verdict.disk_free_bytes < verdict.disk_bytes:
        raise OptionError(
            f"the export needs {_gb(verdict.disk_bytes)} on disk, {_existing(target)} has "
            f"{_gb(verdict.disk_free_bytes)} free; free space or choose another --out"
        )
    if verdict.memory_available_bytes < verdict.memory_bytes:
        raise OptionError(
            f"the export needs {_gb(verdict.memory_bytes)} of memory, "
            f"{_gb(verdict.memory_available_bytes)} is available; "
            "close programs or use a larger machine"
        )


def about(seconds: float) -> str:
    """A duration as people say it."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            count = seconds / length
            return f"about {count:.1f} {unit}" if count < 3 else f"about {count:.0f} {unit}"
    count = max(round(seconds), 1)
    return f"about {count} second{'s' if count > 1 else ''}"


def _existing(target: Path) -> Path:
    return next(path for path in target.absolute().parents if path.exists())


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def export_seconds(export: ResolvedExport, backends: Mapping[str, Backend]) -> float:
    """About how long one export to all `backends` takes on this machine."""
    config = export.checkpoint.config
    weights = sum(prod(shape) for shape in tensor_shapes(config).values())
    seconds = _START_S + _ROUND_S * weights
    if export.recipe.calibrated:
        seconds += _calibration_operations(config, export.calibration.tokens) / _RATE
        seconds += _FIT_S * _layer_weights(config) * len(config.layers)
    if export.verify:  # the unquantized model; the quantized one is among a backend's seconds
        seconds += _pass_s(export)
    for backend in backends.values():
        footprint = backend.footprint
        stored_bytes = weights_bytes(config, export.recipe, backend)
        seconds += footprint.layer_seconds * len(config.layers)
        seconds += footprint.gb_seconds * stored_bytes / 1e9
        seconds += _pass_s(export) if export.verify else 0
    return seconds * _RATE / machine_rate()


def _pass_s(export: ResolvedExport) -> float:
    """The model over the tokens of a verification, weights read and made floats."""
    config = export.checkpoint.config
    operations = 2 * probe_length(export.limits, config.window) * _layer_weights(config)
    return (operations / _RATE + _READ_S * _layer_weights(config)) * len(config.layers)


def _layer_weights(config: DecoderConfig) -> int:
    return sum(prod(shape) for name, shape in tensor_shapes(config).items() if ".0." in name)


def _calibration_operations(config: DecoderConfig, tokens: int) -> int:
    """Of the matrix products in `fit_layer` over all layers; each counts twice its size."""
    attention, width = config.layers[0], config.width
    inner = attention.heads * attention.head_dim + config.ffn_width
    inputs = _layer_weights(config) - inner * width
    streams = 2 * inputs + 3 * inner * width  # through the layer, exact and fitted
    products = 2 * width**2 + inner**2 + inner * width
    return 2 * tokens * (streams + products) * len(config.layers)


@cache
def machine_rate() -> float:
    """Float32 operations a second of this machine in matrix products, measured."""
    left, right = (torch.ones(_PROBED_SIZE, _PROBED_SIZE) for _ in range(2))
    best_s = float("inf")
    for _ in range(_PROBES + 1):  # the first starts the threads
        start = time.perf_counter()
        torch.mm(left, right)
        best_s = min(best_s, time.perf_counter() - start)
    return 2 * _PROBED_SIZE**3 / best_s
