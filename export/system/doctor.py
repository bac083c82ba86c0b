"""Examines this machine: versions, processor, memory, and what follows from them."""

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tinyaya.export.system.proc import memory_bytes

PACKAGES = (
    "onnxruntime", "executorch", "torch", "numpy", "tokenizers", "llguidance", "starlette",
    "uvicorn", "transformers",
)  # fmt: skip
# Feature -> how /proc/cpuinfo names it, on ARM and on x86.
FEATURES: Mapping[str, tuple[str, ...]] = {
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
    "fp16": ("asimdhp",),
    "sve": ("sve",),
    "AVX2": ("avx2",),
    "AVX-VNNI": ("avx_vnni",),
    "AVX-512": ("avx512f",),
    "AVX-512 VNNI": ("avx512_vnni",),
    "AMX int8": ("amx_int8",),
}
_INTEGER_DOT_FEATURES = {"dotprod", "i8mm", "AVX-VNNI", "AVX-512 VNNI", "AMX int8"}
_TINY_AYA_INT4_BYTES = 3_300_000_000  # resident, of the real sizes (docs/decisions.md)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What `doctor` says; bytes are None where the system does not tell."""

    system: str
    python: str
    packages: Mapping[str, str | None]
    processor: str
    cores: int
    features: Sequence[str]
    memory_bytes: int | None
    available_bytes: int | None
    advice: Sequence[str]

    def rows(self) -> Iterator[tuple[str, str]]:
        """Name and text of each fact."""
        yield "system", self.system
        yield "python", self.python
        for name, found in self.packages.items():
            yield name, found or "not installed"
        yield "processor", f"{self.processor}, {self.cores} cores"
        yield "features", ", ".join(self.features) or "none known"
        if self.memory_bytes is not None and self.available_bytes is not None:
            total, free = self.memory_bytes / 1e9, self.available_bytes / 1e9
            yield "memory", f"{total:.1f} GB, {free:.1f} GB available"


def examine() -> Diagnosis:
    """Look at this machine; loads no engine."""
    processor, features = read_processor(_text(Path("/proc/cpuinfo")))
    memory = memory_bytes()
    packages = {name: _version(name) for name in PACKAGES}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Diagnosis(
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        python=platform.python_version(),
        packages=packages,
        processor=processor or platform.machine(),
        cores=cores or 1,
        features=features,
        memory_bytes=memory.get("MemTotal"),
        available_bytes=memory.get("MemAvailable"),
        advice=tuple(_advice(packages, features, memory.get("MemAvailable"))),
    )


def read_processor(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """Name and features as /proc/cpuinfo has them; all cores have a feature, or it is not there."""
    name = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    lists = re.findall(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = set.intersection(*(set(found.split()) for found in lists)) if lists else set()
    features = (key for key, names in FEATURES.items() if flags & set(names))
    return (name[1] if name else ""), tuple(features)


def _advice(
    packages: Mapping[str, str | None], features: Sequence[str], available_bytes: int | None
) -> Iterator[str]:
    if set(features) & _INTEGER_DOT_FEATURES:
        yield "integer products are fast here: int4 and int8 recipes gain most"
    elif features:
        yield "no integer dot products: int4 still reads least memory, prefill will be slow"
    else:
        yield "the processor's features are not known here: measure with `run --json`"
    if packages["executorch"]:
        yield "ExecuTorch reads prompts faster, ONNX Runtime decodes faster at long context"
    else:
        yield "ONNX bundles run; .pte bundles need pip install 'tinyaya-export[export]'"
    if available_bytes is not None:
        fits = available_bytes >= _TINY_AYA_INT4_BYTES
        yield f"Tiny Aya at int4 takes about 3.3 GB: it {'fits' if fits else 'does not fit'}"
    for name, need, extra in (
        ("llguidance", "--json-schema, --regex and --grammar", "grammar"),
        ("starlette", "serve", "serve"),
    ):
        if not packages[name]:
            yield f"{need} needs pip install 'tinyaya-export[{extra}]'"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
