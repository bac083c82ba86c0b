"""Hides what C++ libraries write to stderr by themselves, past Python and its logging."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden_native_stderr() -> Iterator[None]:
    """Send file descriptor 2 to the null device; only around calls that raise their errors."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
