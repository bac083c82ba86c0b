"""Publishes a bundle whole: it grows beside its target and is renamed when all of it is there.

Killed at any moment, the target is the old bundle or absent.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyaya.export.errors import TargetError
from tinyaya.runtime.manifest import MANIFEST_FILE
from tinyaya.runtime.whole_file import is_leftover

_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file system or a limit allows no larger file",
}


@contextmanager
def staged(target: Path, *, force: bool, mark: str = MANIFEST_FILE) -> Iterator[Path]:
    """Yield an empty folder beside `target`; on leaving without an error it takes its place.

    mark: a file that tells the folders which may be replaced by force. Raises TargetError when the
    target exists (and may not be replaced), cannot be written to, or its disk is full; nothing is
    left behind then.
    """
    check_target(target, force=force, mark=mark)
    staging = target.parent / f".{target.name}.partial-{os.getpid()}"
    absent = [path for path in target.parents if not path.exists()]
    try:
        with writes_explained(staging, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(target)
            staging.mkdir()
            yield staging
            _publish(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for path in absent:
            with suppress(OSError):  # holds a bundle
                path.rmdir()


@contextmanager
def writes_explained(staging: Path, target: Path) -> Iterator[None]:
    """Raise TargetError where a write into `staging`, which is to become `target`, fails."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOMEM:  # is about memory, not about the target
            raise
        raise _explained(error, staging, target) from error


@contextmanager
def scratch_in(staging: Path) -> Iterator[Path]:
    """Yield an empty folder in `staging`, where libraries put temporary files, too.

    The disk of the target has room for them; TMPDIR is often a small part of memory.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=staging) as scratch:
        tempfile.tempdir = scratch
        try:
            yield Path(scratch)
        finally:
            tempfile.tempdir = before


def check_target(target: Path, *, force: bool, mark: str = MANIFEST_FILE) -> None:
    """Raise TargetError unless a folder may be put at `target`; mark: as for `staged`."""
    _check_place(target)
    if not target.exists():
        return
    if not force:
        raise TargetError(f"{target} exists; add --force to replace it, or choose another place")
    if target.is_dir() and any(target.iterdir()) and not (target / mark).exists():
        raise TargetError(f"{target} is a folder without {mark}; it is not replaced")
    if not target.is_dir():
        raise TargetError(f"{target} is a file; choose another place")


def _check_place(target: Path) -> None:
    """What would fail only after all the work."""
    if target.is_symlink():
        raise TargetError(
            f"{target} is a link to {target.readlink()}; name that place itself, or choose "
            "another place"
        )
    above = next(path for path in target.absolute().parents if path.exists())
    if not above.is_dir():
        raise TargetError(
            f"{above} is a file, so {target} cannot be below it; choose another place"
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise TargetError(f"{above} cannot be written to; choose another place")
    if target.resolve() == Path.cwd():
        raise TargetError(f"{target} is the current folder; name a folder in it, as --out aya")


def _clear_leftovers(target: Path) -> None:
    """Remove what exports to `target` left that were killed."""
    for kind in ("partial", "old"):
        for path in target.parent.glob(f".{target.name}.{kind}-*"):
            if path.name.endswith(f"-{os.getpid()}") or is_leftover(path):
                shutil.rmtree(path, ignore_errors=True)


def _publish(staging: Path, target: Path) -> None:
    for path in (*staging.iterdir(), staging):
        _sync(path)
    old = target.parent / f".{target.name}.old-{os.getpid()}"
    if target.exists():
        target.rename(old)
    staging.rename(target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explained(error: OSError, staging: Path, target: Path) -> TargetError:
    files = list(staging.iterdir()) if staging.is_dir() else []
    if not files or error.errno not in _NO_ROOM:
        return TargetError(
            f"cannot write {target}: {error.strerror or error}; choose another place"
        )
    file = max(files, key=lambda path: path.stat().st_mtime_ns)  # errors of writes name no file
    written = sum(path.stat().st_size for path in files)
    free = shutil.disk_usage(staging).free
    return TargetError(
        f"{_NO_ROOM[error.errno]} at {file.name} of {target}: {written} bytes of the bundle were "
        f"written, {free} bytes are free beside them; free space or choose another place"
    )
