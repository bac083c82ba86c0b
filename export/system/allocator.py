"""Sets how this process takes memory from the system, gives it back, and looks for garbage."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_MIN_MAPPED_BYTES = 1 << 20


def map_large_blocks() -> None:
    """Let what is freed of a megabyte and more go back at once; without glibc, do nothing.

    glibc raises its threshold to the size of blocks that are freed, up to 32 MB, and keeps what is
    smaller; most weights of a layer are, so copies that came and went would count as long as the
    export runs.
    """
    try:
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _MIN_MAPPED_BYTES)
    except (OSError, AttributeError):
        return


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage less often inside.

    Most of what a lowering makes stays until the program is written; looking through it was 9 % of
    the time. What is garbage by then goes with the collection after each program.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
