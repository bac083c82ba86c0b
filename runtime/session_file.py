"""Saves what a session holds to a file, and loads it; a file of another bundle is refused.

Magic, the length of a JSON header (8 bytes, little endian), the header, then the caches' arrays
one after another. The header has a SHA-256 of all that follows it.
"""

import hashlib
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyaya.runtime.engines.base import EngineState, Mark
from tinyaya.runtime.errors import SessionFileError
from tinyaya.runtime.manifest import CACHE_DTYPES, Manifest
from tinyaya.runtime.whole_file import whole_file

_MAGIC = b"tinyaya-session-1\n"
_LENGTH_BYTES, _MOST_HEADER_BYTES = 8, 1 << 26


@dataclass(frozen=True, kw_only=True)
class SavedSession:
    """Tokens, a note for people or programs, and what the caches hold after the tokens."""

    ids: tuple[int, ...]
    note: str
    state: EngineState


def bundle_identity(manifest: Manifest) -> str:
    """SHA-256 over what a bundle computes with: its engine, and the hash of every file."""
    hashes = sorted((name, entry.sha256) for name, entry in manifest.files.items())
    return hashlib.sha256(json.dumps([manifest.engine, hashes]).encode()).hexdigest()


def write_session(path: Path, manifest: Manifest, saved: SavedSession) -> None:
    """Write the file whole or not at all; raises SessionFileError where that cannot be done."""
    caches = [np.ascontiguousarray(cache) for cache in saved.state.caches]
    digest = hashlib.sha256()
    for cache in caches:
        digest.update(cache.data)
    header = {
        "bundle": bundle_identity(manifest),
        "ids": saved.ids,
        "note": saved.note,
        "mark": list(saved.state.mark),
        "caches": [[str(cache.dtype), *cache.shape] for cache in caches],
        "sha256": digest.hexdigest(),
    }
    encoded = json.dumps(header).encode()
    try:
        with whole_file(path) as part, part.open("wb") as file:
            file.write(_MAGIC + len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded)
            for cache in caches:
                file.write(cache.data)
    except OSError as error:
        raise SessionFileError(
            f"{path} cannot be written: {error.strerror}; choose another place"
        ) from error


def read_session(path: Path, manifest: Manifest) -> SavedSession:
    """Read and check a file of `write_session`.

    Raises SessionFileError for one that cannot be read, is broken, or is another bundle's.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SessionFileError(
            f"{path} cannot be read: {error.strerror}; expected a saved session"
        ) from error
    if not data.startswith(_MAGIC):
        raise SessionFileError(f"{path} is not a saved session")
    try:
        header, start = _header(data)
        if header["bundle"] != bundle_identity(manifest):
            raise SessionFileError(
                f"{path} was saved with another bundle; open the one that it was saved with"
            )
        return _checked(header, memoryview(data)[start:], manifest)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise SessionFileError(
            f"{path} is broken ({error or type(error).__name__}); save the session again"
        ) from error


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    start = len(_MAGIC) + _LENGTH_BYTES
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    if length > min(len(data) - start, _MOST_HEADER_BYTES):
        raise ValueError("it ends within its header")
    header = json.loads(data[start : start + length])
    if not isinstance(header, dict):
        raise TypeError("its header is no object")
    return header, start + length


def _checked(header: dict[str, Any], body: memoryview, manifest: Manifest) -> SavedSession:
    if hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise ValueError("its caches have another SHA-256")
    ids, note, (written, restoring) = header["ids"], header["note"], header["mark"]
    if type(written) is not int or type(restoring) is not bool or type(note) is not str:
        raise TypeError("its header has values of other types")
    mark = Mark(written=written, restoring=restoring)
    _check_ids(ids, mark, manifest)
    state = EngineState(mark=mark, caches=_arrays(header["caches"], body))
    return SavedSession(ids=tuple(ids), note=note, state=state)


def _check_ids(ids: list[Any], mark: Mark, manifest: Manifest) -> None:
    context, vocab_size = manifest.limits.context, manifest.model.vocab_size
    if not all(type(token) is int and 0 <= token < vocab_size for token in ids):
        raise ValueError("it holds ids that are no tokens")
    most = len(ids) if manifest.engine == "onnx" else context
    if not len(ids) <= mark.written <= most or most > context:
        raise ValueError(f"{len(ids)} tokens do not go with {mark.written} positions")
    preamble = manifest.preamble.ids if manifest.preamble else ()
    if mark.restoring and (tuple(ids) != preamble or not ids):
        raise ValueError("it does not begin as the bundle's preamble does")


def _arrays(sizes: list[Any], body: memoryview) -> tuple[NDArray[Any], ...]:
    caches, at = [], 0
    for dtype, *shape in sizes:
        if dtype not in CACHE_DTYPES or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("its caches have no sizes")
        cache = np.frombuffer(body, dtype, prod(shape), at).reshape(shape)
        caches.append(cache)
        at += cache.nbytes
    if at != len(body):
        raise ValueError("it holds more than its caches")
    return tuple(caches)
