"""Describes a machine: name, processor, memory, sensors, and its measured read bandwidth."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from tinyaya.benchmarks.speed.conditions.sensors import Sensors
from tinyaya.benchmarks.speed.conditions.topology import (
    Cluster,
    parse_cluster,
    read_clusters,
    read_text,
)

_PACKAGES = ("tinyaya-export", "onnxruntime", "executorch", "torch", "llama-cpp-python", "numpy")
_BANDWIDTH_PASSES = 7
MAX_BUFFER_BYTES = 1 << 30  # far beyond any last-level cache
_MEMORY_PER_BUFFER = 8  # at least, so that the buffer is smaller where memory is small
_CPU_FAMILIES = {"aarch64": "arm", "arm": "arm", "x86_64": "x86", "i686": "x86", "i386": "x86"}


@dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """What that many threads together read from memory."""

    threads: int
    read_bytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The header of a result; versions: package -> version, of those that are installed.

    name: as its maker calls the board. idle_celsius: before anything was measured. emulated:
    programs run in an emulator of another processor, so that no speed means anything.
    """

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    versions: Mapping[str, str]
    bandwidths: tuple[Bandwidth, ...]
    name: str = ""
    clusters: tuple[Cluster, ...] = ()
    sensors: tuple[str, ...] = ()
    governor: str = ""
    idle_celsius: float | None = None
    emulated: bool = False

    def read_bytes_per_s(self, threads: int) -> float:
        """Measured with that many threads; KeyError if that was not."""
        return {row.threads: row.read_bytes_per_s for row in self.bandwidths}[threads]


def parse_machine(raw: Mapping[str, Any]) -> Machine:
    """The Machine that `asdict` and JSON made `raw` of."""
    bandwidths = tuple(Bandwidth(**row) for row in raw["bandwidths"])
    clusters = tuple(map(parse_cluster, raw["clusters"]))
    parsed = {"bandwidths": bandwidths, "clusters": clusters, "sensors": tuple(raw["sensors"])}
    return Machine(**{**raw, **parsed})


def describe_machine(root: Path = Path("/")) -> Machine:
    """Describe this machine, but for its bandwidth; root: `/`, or a copy of what is below it."""
    sensors = Sensors(root)
    clusters = read_clusters(root, sorted(os.sched_getaffinity(0)))
    heats = sensors.read(monotonic()).celsius.values()
    return Machine(
        cpu=_cpu(root, clusters),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        versions={"python": platform.python_version(), **_versions()},
        bandwidths=(),
        name=_name(root),
        clusters=clusters,
        sensors=sensors.describe(),
        governor=read_text(
            root / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
        ).strip(),
        idle_celsius=max(heats, default=None),
        emulated=is_emulated(root, platform.machine()),
    )


def is_emulated(root: Path, machine: str) -> bool:
    """Whether programs for `machine` run on a kernel of another family of processors."""
    modalias = read_text(root / "sys/devices/system/cpu/modalias")
    kernel = read_text(root / "proc/sys/kernel/arch").strip()
    if not kernel and "type:" in modalias:
        kernel = modalias.split("type:")[1].split(":")[0].split(",")[0]
    return bool(kernel) and _family(kernel) != _family(machine)


def _family(machine: str) -> str:
    known = (family for prefix, family in _CPU_FAMILIES.items() if machine.startswith(prefix))
    return next(known, machine)


def measure_bandwidths(
    threads: Sequence[int], cpus: Sequence[int], buffer_bytes: int | None = None
) -> tuple[Bandwidth, ...]:
    """What each count of threads reads, on `cpus` alone; none: on all."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = buffer_bytes or min(MAX_BUFFER_BYTES, memory // _MEMORY_PER_BUFFER)
    with pinned(cpus):
        return tuple(
            Bandwidth(threads=count, read_bytes_per_s=read_bandwidth(count, size))
            for count in threads
        )


def read_bandwidth(threads: int, buffer_bytes: int) -> float:
    """Bytes a second that `threads` read together; the best of several passes.

    Each thread reduces its part of one large float32 array, taken as int64, by a bitwise or: numpy
    releases the GIL for it, and it is the reduction that waits least for arithmetic (a sum of
    float32 reached 0.7 of it). Written once before, so that every page is there.
    """
    whole = buffer_bytes // 8 * 8
    parts = np.array_split(np.ones(whole // 4, np.float32).view(np.int64), threads)
    best_s = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_BANDWIDTH_PASSES):
            start = perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))
            best_s = min(best_s, perf_counter() - start)
    return sum(part.nbytes for part in parts) / best_s


@contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Keep this thread, and what it starts, on `cpus`; none: where it is."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _name(root: Path) -> str:
    """A board's from its device tree, a computer's from its firmware."""
    for place in ("proc/device-tree/model", "sys/class/dmi/id/product_name"):
        if text := read_text(root / place).strip("\0 \n"):
            return text
    return ""


def _cpu(root: Path, clusters: Sequence[Cluster]) -> str:
    """The model as Linux names it; ARM kernels tell each core's part."""
    parts = [f"{len(cluster.cpus)} x {cluster.part}" for cluster in clusters if cluster.part]
    rows = [line.split(":") for line in read_text(root / "proc/cpuinfo").splitlines()]
    names = {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
    return names.get("model name") or ", ".join(parts) or names.get("Model") or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
