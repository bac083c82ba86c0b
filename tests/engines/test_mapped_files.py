"""Pages of mapped files go back to the system; what a process wrote stays."""

import mmap
import re
from pathlib import Path

import pytest

from tinyaya.runtime.engines.mapped_files import release_mapped

SIZE_BYTES = 64 * mmap.PAGESIZE

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="this system has no /proc/self/smaps"
)


def resident_bytes(path: Path) -> int:
    """Resident bytes of all mappings of a file in this process."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(f" {path.resolve()}")
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.fixture
def mapped(tmp_path: Path) -> mmap.mmap:
    path = tmp_path / "a file with spaces"
    path.write_bytes(b"x" * SIZE_BYTES)
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=3)
    assert sum(mapping[:: mmap.PAGESIZE]) == 64 * ord("x")  # every page was read
    return mapping


def test_read_pages_are_given_back_and_read_again(mapped: mmap.mmap, tmp_path: Path) -> None:
    path = tmp_path / "a file with spaces"
    assert resident_bytes(path) == SIZE_BYTES
    release_mapped(tmp_path)
    assert resident_bytes(path) == 0
    assert mapped[SIZE_BYTES - 1] == ord("x")


def test_pages_that_were_written_stay(mapped: mmap.mmap, tmp_path: Path) -> None:
    mapped[5] = ord("y")
    release_mapped(tmp_path)
    assert mapped[5] == ord("y")


def test_files_of_other_folders_stay(mapped: mmap.mmap, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    release_mapped(tmp_path / "other")
    assert resident_bytes(tmp_path / "a file with spaces") == SIZE_BYTES
    mapped.close()
