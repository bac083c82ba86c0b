"""A disk or a memory that runs out in the middle: one line, exit code 2, the target untouched."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command, content
from tests.cli.test_bad_use import assert_refused
from tests.conftest import NANO
from tinyaya.export import pipeline
from tinyaya.export.backends import BACKENDS
from tinyaya.export.source.checkpoint import Checkpoint

PROGRAMS = {"onnx": "model.onnx.data", "executorch": "model.pte"}
DISK_BYTES, LEFT_BYTES = 64_000_000, 2_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no command mount here: a full disk is only simulated (test_bad_use.py)")
    if mounted.returncode:
        pytest.skip(f"a full disk is only simulated (test_bad_use.py): {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def old_bundle(folder: Path) -> None:
    """What --force takes for a bundle."""
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    (folder / "model.pte").write_bytes(b"old" * 1000)


@pytest.mark.parametrize("backend", BACKENDS)
def test_real_disk_fills_in_the_middle(
    command: Command,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    lone: Checkpoint,
    backend: str,
) -> None:
    """Something else takes the room after it was checked, so that the program's write fails."""
    out, ballast = disk / "out", disk / "ballast"
    old_bundle(out)
    before, trace = content(out), pipeline.trace_model

    def filled(*arguments: object) -> object:
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - LEFT_BYTES))
        return trace(*arguments)

    monkeypatch.setattr(pipeline, "trace_model", filled)
    options = ("--force", "--no-verify", "--recipe", "fp32", "--backend", backend)
    result = command("export", lone.folder, "--out", out, *options)
    words = ("disk is full", PROGRAMS[backend], str(out), " bytes are free", "choose another place")
    assert_refused(result, *words)
    assert content(out) == before
    assert sorted(disk.iterdir()) == sorted([out, ballast])


@pytest.mark.parametrize("backend", BACKENDS)
def test_limit_on_the_size_of_files(tmp_path: Path, lone: Checkpoint, backend: str) -> None:
    """As file systems that hold no file above 4 GB behave."""
    arguments = ["export", str(lone.folder), "--out", str(tmp_path / "out"), "--backend", backend]
    arguments += ["--recipe", "fp32"]
    result = run_limited(resource.RLIMIT_FSIZE, 1_000_000, arguments)
    assert_line(result, "no larger file", PROGRAMS[backend])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_written_to_the_folder_for_temporary_files(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lone: Checkpoint,
    backend: str,
) -> None:
    """A trimmed vocabulary and what libraries write has no room in many a /tmp."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    options = ("--languages", "sw", "--keep", "tight", "--recipe", "fp32", "--backend", backend)
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "file"))  # no file can be below it
        result = command("export", lone.folder, "--out", tmp_path / "out", *options)
        assert tempfile.tempdir == str(tmp_path / "file")
    assert result.code == 0, result.err
    assert not list((tmp_path / "inductor").rglob("*"))
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_dir()]


def run_limited(kind: int, limit: int, arguments: list[str]) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.cli.limited", str(kind), str(limit), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )


def assert_line(result: subprocess.CompletedProcess, *words: str) -> None:
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in result.stderr


def test_memory_runs_out_for_real(tmp_path: Path) -> None:
    """Quantizing takes more than a megabyte."""
    out = tmp_path / "out"
    old_bundle(out)
    before = content(out)
    arguments = ["export", str(NANO), "--out", str(out), "--force", "--no-verify"]
    arguments.append("--no-calibrate")
    result = run_limited(resource.RLIMIT_AS, 1_000_000, arguments)
    assert_line(result, "memory ran out at the stage 'quantize'", "GB", "larger machine")
    assert content(out) == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((1 << 40,), np.dtype("f4")),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
        RuntimeError("Failed to allocate memory for requested buffer of size 2147483648"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__ + str(error)[:20],
)
def test_memory_runs_out_by_any_librarys_words(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Each library's own words, also as the cause of another error."""

    def fail(*arguments: object) -> object:
        try:
            raise error
        except Exception as cause:
            raise ValueError("a pass failed") from cause

    monkeypatch.setattr(pipeline, "tail_logits", fail)
    result = command("export", NANO, "--out", tmp_path / "out", "--no-calibrate")
    assert_refused(result, "'fp32 reference'", "planned to need", "--context", "--no-verify")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> object:
        raise ValueError("a mistake of the programmer")

    monkeypatch.setattr(pipeline, "golden_tokens", fail)
    with pytest.raises(ValueError, match="a mistake"):
        command("export", NANO, "--out", tmp_path / "out", "--no-calibrate")
