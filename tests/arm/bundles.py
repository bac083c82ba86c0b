"""The small model in, bundles of it out, each made once for what they are made of.

Usage: python -m tests.arm.bundles FOLDER BACKEND-NAME ...
"""

import gc
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NANO = REPOSITORY / "tests/assets/nano"
SOURCES = ("export", "quantize", "runtime", "tests/assets/nano")
TRIMMED, TRIMMED_TO = "trimmed", ("sw", "en")
CHUNK = 32  # small, because probes are longer by it
WITH_PREAMBLE = ("int4", TRIMMED)  # the chat template's, whose check feeds it twice


def content_key() -> str:
    """A hash of all that bundles rest on."""
    files = sorted(
        path
        for folder in SOURCES
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not {"server", "native"} & {*path.parts}
    )
    digest = hashlib.sha256((REPOSITORY / "pyproject.toml").read_bytes())
    digest.update(Path(__file__).read_bytes())
    for path in files:
        digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def bundle_path(folder: Path, backend: str, name: str) -> Path:
    """Where the bundle of that name lies."""
    return folder / f"{backend}-{name}"


def make_bundles(folder: Path, backends: Sequence[str], names: Sequence[str]) -> None:
    """Export what is not there yet, by as many processes as there are cores."""
    paths = [bundle_path(folder, backend, name) for backend in backends for name in names]
    missing = [path.name for path in paths if not path.exists()]
    cores = os.cpu_count() or 1
    started = []
    for share in filter(None, (missing[core::cores] for core in range(cores))):
        command = [sys.executable, "-m", "tests.arm.bundles", str(folder), *share]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stderr=subprocess.PIPE, errors="replace"
        )
        started.append((process, " ".join(command)))
    for process, command in started:
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{command} failed:\n{said}")


def main(folder: Path, bundles: Sequence[str]) -> None:
    """Verified bundles: boards repeat what the programs said here."""
    from tinyaya.export.options import ExportOptions, VocabularyOptions
    from tinyaya.export.pipeline import export_bundle

    gc.freeze()  # most of what a lowering makes stays: looking for garbage was 9 % of its time
    gc.set_threshold(50_000, 20, 100)
    for bundle in bundles:
        backend, _, name = bundle.partition("-")
        trimmed = name == TRIMMED
        options = ExportOptions(
            backend=backend,
            recipe="int4" if trimmed else name,
            context=1024,
            chunk=CHUNK,
            calibrate=False,
            preamble=None if name in WITH_PREAMBLE else "",
            vocabulary=VocabularyOptions(languages=TRIMMED_TO) if trimmed else None,
        )
        export_bundle(NANO, folder / bundle, options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
