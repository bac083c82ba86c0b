"""How this process takes memory for tensors from the system, and gives it back."""

import ctypes

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE_BYTES = 1 << 20


def map_large_blocks() -> None:
    """Let what is freed of a megabyte and more go back at once; without glibc, do nothing.

    glibc raises its threshold to the size of blocks that are freed, up to 32 MB, and keeps what is
    smaller; most weights of a layer are, so copies that came and went would count as long as the
    export runs.
    """
    try:
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    except (OSError, AttributeError):
        return
