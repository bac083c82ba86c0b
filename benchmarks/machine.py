"""What a benchmark ran on: processor, memory, system, versions and measured read bandwidth."""

import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

_PACKAGES = ("tinyaya-export", "onnxruntime", "executorch", "torch", "llama-cpp-python", "numpy")
_REPEATS = 7
BUFFER_BYTES = 1 << 30  # far beyond any last-level cache


@dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """What that many threads together read from memory."""

    threads: int
    read_bytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The header of a result; versions: package -> version, of those that are installed."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    versions: Mapping[str, str]
    bandwidths: tuple[Bandwidth, ...]

    def read_bytes_per_s(self, threads: int) -> float:
        """Measured with that many threads; KeyError if that was not."""
        return {row.threads: row.read_bytes_per_s for row in self.bandwidths}[threads]


def parse_machine(raw: Mapping[str, Any]) -> Machine:
    """The Machine that `asdict` and JSON made `raw` of."""
    return Machine(**{**raw, "bandwidths": tuple(Bandwidth(**row) for row in raw["bandwidths"])})


def describe_machine(threads: Sequence[int], buffer_bytes: int = BUFFER_BYTES) -> Machine:
    """Describe this machine; its bandwidth is measured for each count, over `buffer_bytes`."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        versions={"python": platform.python_version(), **_versions()},
        bandwidths=tuple(
            Bandwidth(threads=count, read_bytes_per_s=read_bandwidth(count, buffer_bytes))
            for count in threads
        ),
    )


def read_bandwidth(threads: int, buffer_bytes: int) -> float:
    """Bytes a second that `threads` read together; the best of several passes.

    Each thread reduces its part of one large float32 array, taken as int64, by a bitwise or: numpy
    releases the GIL for it, and it is the reduction that waits least for arithmetic (a sum of
    float32 reached 0.7 of it). Written once before, so that every page is there.
    """
    parts = np.array_split(np.ones(buffer_bytes // 4, np.float32).view(np.int64), threads)
    best_s = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_REPEATS):
            start = perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))
            best_s = min(best_s, perf_counter() - start)
    return sum(part.nbytes for part in parts) / best_s


def _cpu() -> str:
    """The model as Linux names it; ARM kernels give a part number at best."""
    rows = [line.split(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    names = {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
    known = [names[key] for key in ("model name", "Model", "CPU part") if key in names]
    return known[0] if known else platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
