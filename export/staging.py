"""Atomic publication: a bundle grows beside its target and is renamed when it is whole.

Killed at any moment, the target is the old bundle or absent.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.errors import TargetError

MANIFEST_FILE = "manifest.json"


@contextmanager
def staged(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty folder beside `target`; on leaving without an error it takes its place.

    Raises TargetError when the target exists (and is not a bundle to replace by force), cannot be
    written to, or its disk is full; nothing is left behind then.
    """
    check_target(target, force=force)
    staging = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target)
        staging.mkdir()
        yield staging
        _publish(staging, target)
    except OSError as error:
        raise _explained(error, target) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_target(target: Path, *, force: bool) -> None:
    """Raise TargetError unless a bundle may be put at `target`."""
    if not target.exists():
        return
    if not force:
        raise TargetError(f"{target} exists; add --force to replace it, or choose another --out")
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST_FILE).exists():
        raise TargetError(f"{target} is a folder that is no bundle; it is not replaced")
    if not target.is_dir():
        raise TargetError(f"{target} is a file; choose another --out")


def _clear_leftovers(target: Path) -> None:
    """Remove what exports to `target` left that were killed."""
    for kind in ("partial", "old"):
        for path in target.parent.glob(f".{target.name}.{kind}-*"):
            process = path.name.rpartition("-")[2]
            if process == str(os.getpid()) or not Path("/proc", process).exists():
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


def _explained(error: OSError, target: Path) -> TargetError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TargetError(f"the disk of {target} is full; free space or choose another --out")
    return TargetError(f"cannot write {target}: {error.strerror or error}; choose another --out")
