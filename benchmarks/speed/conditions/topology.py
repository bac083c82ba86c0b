"""Finds a Linux machine's clusters of equal cores, the fastest first."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyaya.runtime.errors import OptionError

CPUS_FOLDER = Path("sys/devices/system/cpu")
_MIN_BIG_SHARE = 0.5  # of the largest capacity; cores with less would hold the others up
# Implementer and part of MIDR_EL1, as Arm's technical reference manuals give them.
_ARM_PARTS: Mapping[int, str] = {
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57",
    0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710",
    0xD48: "Cortex-X2", 0xD49: "Neoverse-N2", 0xD4B: "Cortex-A78C", 0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3", 0xD4F: "Neoverse-V2", 0xD80: "Cortex-A520", 0xD81: "Cortex-A720",
    0xD82: "Cortex-X4", 0xD85: "Cortex-X925", 0xD87: "Cortex-A725",
}  # fmt: skip
_ARM_IMPLEMENTER = 0x41


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Cores that are alike; cores: physical ones, fewer than cpus where two threads share one.

    max_hz and capacity (1024: the fastest core) are None where the kernel does not tell.
    """

    cpus: tuple[int, ...]
    cores: int
    part: str
    max_hz: float | None = None
    capacity: int | None = None


def parse_cluster(raw: Mapping[str, Any]) -> Cluster:
    """The Cluster that `asdict` and JSON made `raw` of."""
    return Cluster(**{**raw, "cpus": tuple(raw["cpus"])})


def read_clusters(root: Path, allowed: Sequence[int]) -> tuple[Cluster, ...]:
    """Clusters of the cpus `allowed`; root: `/`, or a copy of what is below it."""
    names = _part_names(read_text(root / "proc/cpuinfo"))
    kinds: dict[tuple[int | None, float | None, str], list[int]] = {}
    for cpu in sorted(allowed):
        folder = root / CPUS_FOLDER / f"cpu{cpu}"
        part = _midr_name(read_text(folder / "regs/identification/midr_el1")) or names.get(cpu, "")
        key = (read_number(folder / "cpu_capacity"), _max_hz(folder), part)
        kinds.setdefault(key, []).append(cpu)
    clusters = [
        Cluster(
            cpus=tuple(cpus),
            cores=len({_core(root / CPUS_FOLDER / f"cpu{cpu}", cpu) for cpu in cpus}),
            part=part,
            max_hz=hz,
            capacity=capacity,
        )
        for (capacity, hz, part), cpus in kinds.items()
    ]
    return tuple(sorted(clusters, key=_order, reverse=True))


def big_clusters(clusters: Sequence[Cluster]) -> tuple[Cluster, ...]:
    """Those whose cores have at least half of what the fastest have."""
    best = _speed(clusters[0])
    return tuple(cluster for cluster in clusters if _speed(cluster) >= _MIN_BIG_SHARE * best)


def choose_cpus(clusters: Sequence[Cluster], text: str) -> tuple[int, ...]:
    """The cpus that `text` names: `big`, `all`, or numbers such as 4-7 or 0,2; OptionError."""
    known = {cpu for cluster in clusters for cpu in cluster.cpus}
    if text == "all":
        return tuple(sorted(known))
    if text == "big":
        return tuple(sorted(cpu for cluster in big_clusters(clusters) for cpu in cluster.cpus))
    if not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", text):
        raise OptionError(f"cores are {text!r}; expected big, all, or numbers such as 4-7 or 0,2")
    chosen = set(_ranges(text))
    if not chosen or chosen - known:
        listed = ",".join(map(str, sorted(known)))
        raise OptionError(f"cores {text} are not all there; this machine has {listed}")
    return tuple(sorted(chosen))


def core_count(clusters: Sequence[Cluster], cpus: Sequence[int]) -> int:
    """Physical cores among `cpus`, at least; as many threads are of use."""
    whole = sum(cluster.cores for cluster in clusters if set(cluster.cpus) <= set(cpus))
    return whole or len(cpus)


def _speed(cluster: Cluster) -> float:
    """Capacity where the kernel knows it, else frequency; equal where it knows neither."""
    return cluster.capacity or cluster.max_hz or 1.0


def _order(cluster: Cluster) -> tuple[float, float]:
    return _speed(cluster), cluster.max_hz or 0.0


def _ranges(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _max_hz(folder: Path) -> float | None:
    kilohertz = read_number(folder / "cpufreq/cpuinfo_max_freq")
    return kilohertz * 1e3 if kilohertz else None


def _core(folder: Path, cpu: int) -> str:
    """The same for all threads of one core."""
    return read_text(folder / "topology/thread_siblings_list").strip() or str(cpu)


def _midr_name(text: str) -> str:
    try:
        midr = int(text, 16)
    except ValueError:
        return ""
    return _part_name(midr >> 24 & 0xFF, midr >> 4 & 0xFFF)


def _part_name(implementer: int, part: int) -> str:
    known = _ARM_PARTS.get(part) if implementer == _ARM_IMPLEMENTER else None
    return known or f"implementer 0x{implementer:02x} part 0x{part:03x}"


def _part_names(cpuinfo: str) -> dict[int, str]:
    """What /proc/cpuinfo calls each processor: a name on x86, numbers on ARM."""
    found = {}
    for block in cpuinfo.split("\n\n"):
        rows = dict(re.findall(r"^([\w ]+?)\s*:\s*(.*)$", block, re.MULTILINE))
        if not rows.get("processor", "").isdigit():
            continue
        if "CPU part" in rows:
            numbers = int(rows.get("CPU implementer", "0"), 16), int(rows["CPU part"], 16)
            found[int(rows["processor"])] = _part_name(*numbers)
        else:
            found[int(rows["processor"])] = rows.get("model name", "")
    return found


def read_number(path: Path) -> int | None:
    """The whole number that a file holds; None for anything else."""
    text = read_text(path).strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def read_text(path: Path) -> str:
    """What a file holds; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
