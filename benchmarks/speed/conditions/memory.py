"""Measures what this process holds resident, or makes all of it resident."""

import ctypes
from dataclasses import dataclass
from errno import EINVAL, ENOMEM
from os import strerror
from pathlib import Path

_ROLLUP_FILE, _MAPS_FILE = Path("/proc/self/smaps_rollup"), Path("/proc/self/maps")
_MADV_POPULATE_WRITE = 23  # Linux 5.14
_POPULATE_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident bytes of a process: all, its share of shared pages, and what it alone wrote."""

    rss_bytes: int
    pss_bytes: int
    private_dirty_bytes: int


def read_memory() -> Memory:
    """Memory of this process, from Linux's smaps_rollup."""
    rows = dict(line.split(":") for line in _ROLLUP_FILE.read_text().splitlines()[1:])
    rss, pss, dirty = (int(rows[key].split()[0]) for key in ("Rss", "Pss", "Private_Dirty"))
    return Memory(rss_bytes=rss * 1024, pss_bytes=pss * 1024, private_dirty_bytes=dirty * 1024)


def populate_memory() -> bool:
    """Give every page that this process may write a frame of its own; contents stay.

    False: the kernel is older than Linux 5.14 and cannot.

    A page never written is one shared page of zeros, which stays in the processor's cache: a step
    that reads caches nobody has filled would be faster than one that reads full ones.
    """
    for _ in range(_POPULATE_TRIES):
        if not (failed := _populate()):
            return True
        if failed == EINVAL:
            return False
        if failed != ENOMEM:  # that one also says that a mapping went away meanwhile
            break
    raise OSError(
        failed,
        f"pages cannot be made resident: {strerror(failed)}; close programs, or measure a "
        "smaller bundle",
    )


def _populate() -> int:
    """One pass over the anonymous mappings; an errno, 0 if none failed."""
    libc, failed = ctypes.CDLL(None, use_errno=True), 0
    for line in _MAPS_FILE.read_text().splitlines():
        span, access, _, _, inode, *_ = line.split()
        if access != "rw-p" or inode != "0":
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_POPULATE_WRITE):
            failed = ctypes.get_errno()
    return failed
