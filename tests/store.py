"""Keeps bundles of small models: each is made once for all that it is made of.

pytest's workers, the emulated boards and the Android build share them, and only read them.

Usage: python -m tests.store [NAME ...]  makes what is missing and prints a folder a line; without
names, all that pytest needs.
"""

import gc
import hashlib
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from tinyaya.export.options import CalibrationOptions, ExportOptions, VocabularyOptions

REPOSITORY = Path(__file__).parents[1]
NANO = REPOSITORY / "tests/assets/nano"
FOLDER_VARIABLE = "TINYAYA_BUNDLES"
FOLDER = Path(os.environ.get(FOLDER_VARIABLE) or REPOSITORY / "build/bundles")
CALIBRATION = "calibration"  # beside the bundles of a calibrated recipe: the work of its fit

_SOURCES = ("export", "quantize", "runtime")
_LEFT_OUT = {  # what no bundle rests on
    "cli", "demo.py", "native", "optimum_register", "quality", "server", "sweep", "__pycache__",
}  # fmt: skip
_TOOLS = (
    "tinyaya-export", "torch", "executorch", "torchao", "onnx", "onnxscript", "onnxruntime",
    "tokenizers", "numpy",
)  # fmt: skip
_CHECKPOINT_FILES = {".json", ".safetensors", ".jinja"}

PYTEST = ("int8", "int4", "fp32")
ARM_RECIPES = ("fp32", "int8", "int4", "int4-small", "int4-quality")
TRIMMED = VocabularyOptions(languages=("sw", "en"))


def _arm(backend: str, name: str) -> ExportOptions:
    """Of a small chunk, because probes are longer by it; a preamble costs a check of its own."""
    return ExportOptions(
        backend=backend,
        recipe="int4" if name == "trimmed" else name,
        context=1024,
        chunk=32,
        calibrate=False,
        preamble=None if name in ("int4", "trimmed") else "",
        vocabulary=TRIMMED if name == "trimmed" else None,
    )


def _android(recipe: str, vocabulary: VocabularyOptions | None = None) -> ExportOptions:
    return ExportOptions(
        recipe=recipe, context=512, calibrate=False, verify=False, vocabulary=vocabulary
    )


# Name -> an export of nano. Those of the backend `both` are folders of a bundle a backend.
NAMED: Mapping[str, ExportOptions] = {
    **{
        recipe: ExportOptions(
            backend="both", recipe=recipe, chunk=64, calibration=CalibrationOptions(tokens=4096)
        )
        for recipe in PYTEST
    },
    **{
        f"arm-{backend}-{name}": _arm(backend, name)
        for backend in ("executorch", "onnx")
        for name in (*ARM_RECIPES, "trimmed")
    },
    "android-fp32": _android("fp32"),
    "android-int4": _android("int4"),
    "android-trimmed": _android("fp32", TRIMMED),
}

_taken: set[Path] = set()


def take(*names: str) -> list[Path]:
    """Folders of named exports; what is missing is made by one process a core."""
    missing = [name for name in names if not named_folder(name).exists()]
    if missing:
        command = [sys.executable, "-m", "tests.store", *missing]
        run = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, errors="replace", check=False
        )
        if run.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
    folders = [named_folder(name) for name in names]
    _taken.update(folders)
    return folders


def named_folder(name: str) -> Path:
    """Where a named export lies once it is made."""
    return _folder(name, _named_parts(name))


def keep(name: str, parts: Sequence[object], make: Callable[[Path], object]) -> Path:
    """The folder that `make` fills; made here, if it is not there yet for these `parts`.

    parts: all that the content rests on beside the sources; their repr says what they are.
    """
    folder = _folder(name, parts)
    if not folder.exists():
        _begin()
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.exists():
                _fill(folder, make)
    _taken.add(folder)
    return folder


def home() -> Path:
    """Where all lies that rests on the sources as they are now."""
    return FOLDER / content_key(())


def _begin() -> None:
    """Make `home`; of earlier states of the sources, the newest stays."""
    home().mkdir(parents=True, exist_ok=True)
    others = sorted(set(FOLDER.iterdir()) - {home()}, key=lambda path: path.stat().st_mtime)
    for path in others[:-1]:
        shutil.rmtree(path, ignore_errors=True)


def _fill(folder: Path, make: Callable[[Path], object]) -> None:
    """Killed at any moment, there is all of it or nothing."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    make(partial)
    _sums_file(folder).write_text(json.dumps(_sums(partial)), encoding="utf-8")
    partial.rename(folder)


def check_taken() -> None:
    """Raise where a folder that was taken here has changed; it is made anew next time."""
    for folder in sorted(_taken):
        found, expected = _sums(folder), json.loads(_sums_file(folder).read_text(encoding="utf-8"))
        changed = sorted(
            name for name in found.keys() | expected if found.get(name) != expected.get(name)
        )
        if changed:
            shutil.rmtree(folder, ignore_errors=True)  # another worker may see it, too
            raise RuntimeError(f"{folder} was written to: {changed}; expected a copy to be changed")


def content_key(parts: Sequence[object]) -> str:
    """A hash of `parts`, the sources that bundles rest on and the libraries below them."""
    return hashlib.sha256(f"{_sources()}{parts!r}".encode()).hexdigest()[:16]


def checkpoint_hash(folder: Path) -> str:
    """A hash of the files that a checkpoint is read from."""
    return _hash(path for path in folder.iterdir() if path.suffix in _CHECKPOINT_FILES)


def _named_parts(name: str) -> tuple[object, ...]:
    return NAMED[name], _nano()


@cache
def _nano() -> str:
    return checkpoint_hash(NANO)


@cache
def _sources() -> str:
    files = (
        path
        for folder in _SOURCES
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and not _LEFT_OUT & {*path.relative_to(REPOSITORY).parts}
    )
    tools = {tool: version(tool) for tool in _TOOLS}
    return f"{_hash(files)} {tools} {platform.python_version()} {platform.machine()}"


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + _sum(path).encode())
    return digest.hexdigest()


def _folder(name: str, parts: Sequence[object]) -> Path:
    return home() / f"{name}-{content_key(parts)[:8]}"


def _sums_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _sums(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): _sum(path) for path in files}


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _export(name: str) -> None:
    """Make a named export in this process, which makes nothing else."""
    from tinyaya.export.pipeline import export_bundle

    gc.freeze()  # most of what a lowering makes stays: looking for garbage was 9 % of its time
    gc.set_threshold(50_000, 20, 100)

    def make(folder: Path) -> None:
        options = NAMED[name]
        if options.find_recipe().calibrated:
            fit = replace(options.calibration, work=folder / CALIBRATION)
            options = replace(options, calibration=fit)
        if options.backend != "both":
            folder.rmdir()  # is the bundle's own
        export_bundle(NANO, folder, options)

    keep(name, _named_parts(name), make)


def _silence() -> None:
    """Keep what libraries print away from the folders' names."""
    os.dup2(2, 1)


def main(names: Sequence[str]) -> None:
    """Make what is missing and print where all lies."""
    missing = [name for name in names if not named_folder(name).exists()]
    if missing:
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        spawn = multiprocessing.get_context("spawn")
        processes = min(len(missing), os.cpu_count() or 1)
        with ProcessPoolExecutor(processes, spawn, _silence) as pool:
            list(pool.map(_export, missing))
    sys.stdout.writelines(f"{named_folder(name)}\n" for name in names)


if __name__ == "__main__":
    main(sys.argv[1:] or PYTEST)
