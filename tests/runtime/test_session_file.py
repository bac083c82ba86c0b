"""Sessions on disk: whole or not at all, of this bundle, and refused by name when broken."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_bundle import BOS, ScriptedEngine

from tinyaya.runtime import Manifest, RunError, Session, SessionFileError, read_manifest
from tinyaya.runtime.engines.base import EngineState, Mark
from tinyaya.runtime.session_file import SavedSession, read_session, write_session

MakeSession = Callable[..., Session]


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    return read_manifest(folder)


@pytest.fixture
def saved() -> SavedSession:
    caches = tuple(np.arange(24, dtype=np.int8).reshape(1, 6, 4) for _ in range(4))
    mark = Mark(written=6, restoring=False)
    return SavedSession(
        ids=(BOS, 9, 8, 7, 6, 5), note="né", state=EngineState(mark=mark, caches=caches)
    )


def test_what_is_read_is_what_was_written(
    manifest: Manifest, saved: SavedSession, tmp_path: Path
) -> None:
    write_session(tmp_path / "s", manifest, saved)
    found = read_session(tmp_path / "s", manifest)
    assert (found.ids, found.note, found.state.mark) == (saved.ids, saved.note, saved.state.mark)
    for left, right in zip(found.state.caches, saved.state.caches, strict=True):
        assert left.dtype == right.dtype and np.array_equal(left, right)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["s"]


def test_a_session_goes_on_where_it_was_saved(scripted: MakeSession, tmp_path: Path) -> None:
    session = scripted()
    session.prefill([BOS, 9, 8])
    session.save(tmp_path / "s", note="hello")
    other = scripted()
    other.prefill([7] * 10)
    assert other.load(tmp_path / "s") == "hello"
    assert other.ids == (BOS, 9, 8)
    assert cast(ScriptedEngine, other._engine).calls[-1] == ("put", 3)
    other.step(5)
    assert cast(ScriptedEngine, other._engine).calls[-1] == (1, 3)


def test_a_fork_goes_its_own_way(scripted: MakeSession) -> None:
    session = scripted()
    session.prefill([BOS, 9])
    fork = session.fork()
    fork.step(5)
    session.step(6)
    assert (session.ids, fork.ids) == ((BOS, 9, 6), (BOS, 9, 5))


def test_another_bundles_session_is_refused(
    manifest: Manifest, saved: SavedSession, tmp_path: Path
) -> None:
    write_session(tmp_path / "s", manifest, saved)
    name, entry = next(iter(manifest.files.items()))
    other = replace(manifest, files={**manifest.files, name: replace(entry, sha256="0" * 64)})
    with pytest.raises(SessionFileError, match="another bundle"):
        read_session(tmp_path / "s", other)
    with pytest.raises(SessionFileError, match="another bundle"):
        read_session(tmp_path / "s", replace(manifest, engine="executorch"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": (2, 9)}, "2 tokens do not go with 6 positions"),
        ({"ids": (2, 9, 8, 7, 6, 9999)}, "no tokens"),
        ({"ids": (2,) * 60}, "positions"),
    ],
)
def test_a_position_that_cannot_be(
    manifest: Manifest, saved: SavedSession, tmp_path: Path, changes: dict, words: str
) -> None:
    write_session(tmp_path / "s", manifest, replace(saved, **changes))
    with pytest.raises(SessionFileError, match=words):
        read_session(tmp_path / "s", manifest)


def test_files_that_cannot_be_read_or_written(scripted: MakeSession, tmp_path: Path) -> None:
    session = scripted()
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(SessionFileError, match="cannot be read"):
            session.load(path)
    with pytest.raises(SessionFileError, match="cannot be written"):
        session.save(tmp_path / "absent" / "s")
    with pytest.raises(SessionFileError, match="cannot be written"):
        session.save(tmp_path)
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_saving_that_fails_leaves_the_old_file(
    manifest: Manifest, saved: SavedSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_session(tmp_path / "s", manifest, saved)
    before = (tmp_path / "s").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SessionFileError, match="No space left"):
        write_session(tmp_path / "s", manifest, replace(saved, note="new"))
    assert (tmp_path / "s").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_files_are_refused_by_name(
    manifest: Manifest, saved: SavedSession, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "s"
    write_session(path, manifest, saved)
    whole = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    if kind == "flip":
        whole[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del whole[at:]
    else:
        whole[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    path.write_bytes(whole)
    try:
        found = read_session(path, manifest)
    except RunError as error:
        assert type(error) is SessionFileError
    else:  # a changed note, or blanks in the header
        assert found.state.mark == saved.state.mark
        assert len(found.ids) == 6
