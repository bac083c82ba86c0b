"""The engine of a .pte is chosen by name, and nothing else is taken; broken files are named."""

import sys
from pathlib import Path

import pytest

from tests.programs.conftest import MakeBundle
from tests.runtime.tiny_bundle import manifest, write_bundle, write_manifest
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import EngineMissingError, OptionError, ProgramError, open_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle for ExecuTorch whose program is rubbish."""
    folder = write_bundle(tmp_path / "bundle")
    return write_manifest(folder, manifest() | {"engine": "executorch"})


def without(monkeypatch: pytest.MonkeyPatch, engine: str, package: str) -> None:
    monkeypatch.delitem(sys.modules, f"tinyaya.runtime.engines.{engine}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)


def test_without_torch_the_other_engine_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "executorch", "torch")
    for name in (None, "torch"):
        with pytest.raises(EngineMissingError, match="--engine native") as found:
            open_bundle(folder).session(engine=name)
        assert "\n" not in str(found.value)


def test_without_the_library_its_build_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "native", "tinyaya_native")
    with pytest.raises(EngineMissingError, match=r"make native.*--engine torch") as found:
        open_bundle(folder).session(engine="native")
    assert "\n" not in str(found.value)


def test_names_that_are_no_choice(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'tflite'.*known: torch, native"):
        open_bundle(folder).session(engine="tflite")
    with pytest.raises(OptionError, match="for onnx, which leaves no choice"):
        open_bundle(write_bundle(tmp_path / "onnx")).session(engine="native")


def test_the_bundles_engine_is_its_sessions(folder: Path, native: Path) -> None:
    with pytest.raises(ProgramError, match="native engine does not load"):
        open_bundle(folder, engine="native").session()
    with pytest.raises(ProgramError, match="ExecuTorch does not load"):
        open_bundle(folder, engine="native").session(engine="torch")


def test_rubbish_and_no_threads_are_named(folder: Path, native: Path) -> None:
    with pytest.raises(ProgramError, match=r"native engine does not load .*model\.onnx: Invalid"):
        open_bundle(folder).session(engine="native")
    with pytest.raises(OptionError, match="threads is 0"):
        open_bundle(folder).session(engine="native", threads=0)


@pytest.mark.l3
def test_broken_programs_are_refused_by_name(
    shallow: Checkpoint, own_bundle: MakeBundle, native: Path
) -> None:
    folder = own_bundle(shallow, "executorch")
    program = folder / "model.pte"
    data = program.read_bytes()
    size = int.from_bytes(data[16:24], "little")  # of what is not weights
    for length in (0, 7, 8, 24, 100, size // 2, size - 1, size, len(data) // 2, len(data) - 1):
        program.write_bytes(data[:length])
        with pytest.raises(ProgramError, match="native engine does not load"):
            load(program)
    for name, other in ((b"custom_sdpa", b"custom_sdpx"), (b"XnnpackBackend", b"XnnpackBackenx")):
        program.write_bytes(data.replace(name, other))
        with pytest.raises(ProgramError, match=other.decode()):
            load(program)


def load(program: Path) -> None:
    from tinyaya.runtime.engines.native import _Method, load_library

    _Method(load_library(), program, 10300)
