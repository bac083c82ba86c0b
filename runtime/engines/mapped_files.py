"""Gives back to the system the memory that mapped files hold after a load.

Engines read a program's weights once to pack them, and keep the file mapped for the vocabulary
table, of which a step reads a few rows. Pages given back are read again where they are needed.
"""

import ctypes
import re
from collections.abc import Collection, Iterator
from pathlib import Path

_SMAPS_FILE = Path("/proc/self/smaps")  # Linux and Android alone
_MAPPING_LINE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(/.*)$")
_MADV_DONTNEED = 4


def release_mapped(folder: Path) -> None:
    """Unlock and drop the pages of all files of `folder`; does nothing where it cannot."""
    if not _SMAPS_FILE.exists():
        return
    libc = ctypes.CDLL(None)
    files = {str(path.resolve()) for path in folder.iterdir()}  # of a Hub's cache: links
    for start, end in _unchanged(files, _SMAPS_FILE.read_text(encoding="utf-8")):
        address, size = ctypes.c_void_p(start), ctypes.c_size_t(end - start)
        libc.munlock(address, size)
        libc.madvise(address, size, _MADV_DONTNEED)


def _unchanged(files: Collection[str], smaps: str) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of its files, but those with pages that the process wrote to."""
    found: tuple[int, int] | None = None
    for line in smaps.splitlines():
        if line[0].islower() or line[0].isdigit():
            place = _MAPPING_LINE.match(line)
            inside = place is not None and place[3] in files
            found = (int(place[1], 16), int(place[2], 16)) if place and inside else None
        elif found and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                yield found
            found = None
