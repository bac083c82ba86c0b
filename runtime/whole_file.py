"""Writes files whole or not at all, and tells by a hash or a name what a file is."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a place beside `path` to write to; left without an error, the file there becomes it.

    It is synced before that, so a crash leaves the old file or the new one. An error leaves nothing
    behind; a process that is killed leaves a file of which `is_leftover` is true.
    """
    part = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write `text` in UTF-8, as `whole_file` does."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def is_leftover(path: Path) -> bool:
    """Whether the name of `path` ends in the id of a process that is gone."""
    return not Path("/proc", path.name.rpartition("-")[2]).exists()


def file_sha256(path: Path) -> str:
    """Hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
