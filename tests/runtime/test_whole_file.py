"""A file is the old one or the new one, whatever happens while it is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinyaya.runtime.whole_file import file_sha256, is_leftover, whole_file, write_whole

# Kills itself when the new file is written and not yet in its place.
KILLED = """
import os, signal, sys
from pathlib import Path
from tinyaya.runtime.whole_file import whole_file
with whole_file(Path(sys.argv[1])) as part:
    part.write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_text("new")
        assert part.parent == tmp_path and not is_leftover(part)
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_the_old_file_and_a_leftover(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    (part,) = set(tmp_path.iterdir()) - {path}
    assert part.name.startswith(".a.json.partial-") and is_leftover(part)


def test_the_file_is_synced_before_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.json", []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(path.exists()))
    write_whole(path, "é")
    assert seen == [False] and path.read_bytes() == b"\xc3\xa9"


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180-2
    assert file_sha256(tmp_path / "a") == known
