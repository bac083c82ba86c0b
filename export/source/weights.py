"""Reads rows of tensors from safetensors files, and notices where a file changes meanwhile.

Files are read, never mapped: a mapped file that is cut short kills the process.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tinyaya.export.errors import ChangedError, CheckpointError, TensorError

_MAX_BLOCK_VALUES = 1 << 22  # read at a time, so that the values as stored take little room
FLOAT_DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}
FLOAT_KINDS = tuple(FLOAT_DTYPES)


@dataclass(frozen=True, kw_only=True)
class FileState:
    """What tells that a file was touched: size, time of the last write, and which file it is."""

    size_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "FileState":
        """What matters of a file's status."""
        return cls(size_bytes=stat.st_size, modified_ns=stat.st_mtime_ns, inode=stat.st_ino)

    def change(self, now: "FileState") -> str | None:
        """How a file came from this state to `now`; None where it did not change."""
        if now.size_bytes != self.size_bytes:
            return f"had {self.size_bytes} bytes and now has {now.size_bytes}"
        if now.inode != self.inode:
            return "was replaced by another file"
        if now.modified_ns != self.modified_ns:
            return "was written to"
        return None


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a tensor lies; kind: as safetensors calls its type. state: the file's, when opened."""

    path: Path
    state: FileState
    name: str
    kind: str
    shape: tuple[int, ...]
    start_byte: int

    def place(self) -> dict[str, Any]:
        """What makes a tensor of a kind of its own that lies where this one does."""
        return {row.name: getattr(self, row.name) for row in fields(StoredTensor)}

    def read(self, rows: range | None = None) -> Tensor:
        """Rows of the tensor, or all of it, in float32.

        Raises ChangedError if the file is not the one that was opened, TensorError if a value is
        not finite.
        """
        rows = rows if rows is not None else range(self.shape[0])
        result = torch.empty(len(rows), *self.shape[1:])
        flat, end = result.view(-1), 0
        for block in self._blocks(rows.start * prod(self.shape[1:]), flat.numel()):
            if not torch.isfinite(block).all():
                raise TensorError(
                    f"{self.path}: {self.name} holds NaN or infinite values; download it again"
                )
            start, end = end, end + block.numel()
            flat[start:end] = block
        return result

    def is_zero(self) -> bool:
        """Whether it holds plain floats, all zero."""
        if self.kind not in FLOAT_DTYPES:
            return False
        return not any(block.any() for block in self._blocks(0, prod(self.shape)))

    def equals(self, other: "StoredTensor") -> bool:
        """Whether both hold the same floats in one shape."""
        if self.shape != other.shape or not {self.kind, other.kind} <= FLOAT_DTYPES.keys():
            return False
        count = prod(self.shape)
        pairs = zip(self._blocks(0, count), other._blocks(0, count), strict=True)
        return all(torch.equal(mine, theirs) for mine, theirs in pairs)

    def _blocks(self, first: int, count: int) -> Iterator[Tensor]:
        """`count` values from the value `first` on, as stored; a block is good until the next."""
        stored = torch.empty(min(count, _MAX_BLOCK_VALUES), dtype=FLOAT_DTYPES[self.kind])
        with _opened(self.path, self.state) as file:
            file.seek(self.start_byte + first * stored.element_size())
            for start in range(0, count, _MAX_BLOCK_VALUES):
                block = stored[: count - start]
                wanted = block.view(torch.uint8).numpy().data
                if file.readinto(wanted) != wanted.nbytes:
                    raise changed(self.path, "was cut short")
                yield block


def stored_tensors(path: Path, state: FileState) -> Mapping[str, StoredTensor]:
    """Name -> place of all tensors of a file; raises CheckpointError if it is not a whole one."""
    try:
        with safe_open(path, framework="pt"):  # checks the header, and the size by it
            pass
    except (SafetensorError, OSError) as error:
        check_unchanged(path, state)
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}); download it again"
        ) from error
    with _opened(path, state) as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: StoredTensor(
            path=path,
            state=state,
            name=name,
            kind=row["dtype"],
            shape=tuple(row["shape"]),
            start_byte=8 + length + row["data_offsets"][0],
        )
        for name, row in header.items()
    }


def check_unchanged(path: Path, state: FileState) -> None:
    """Raise ChangedError unless the file at `path` is as it was."""
    with _explained(path):
        now = FileState.of(path.stat())
    if change := state.change(now):
        raise changed(path, change)


def changed(path: Path, how: str) -> ChangedError:
    """The error for a file that something else wrote while it was read."""
    return ChangedError(
        f"{path} {how} while the checkpoint was read; export again when nothing writes there"
    )


@contextmanager
def _opened(path: Path, state: FileState) -> Iterator[BufferedReader]:
    """The file, if it is in that state before and after it is read."""
    with _explained(path), path.open("rb") as file:
        if change := state.change(FileState.of(os.fstat(file.fileno()))):
            raise changed(path, change)
        yield file
        if change := state.change(FileState.of(os.fstat(file.fileno()))):
            raise changed(path, change)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise changed(path, "was deleted") from error
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot read: {error.strerror or error}; check the disk and its permissions"
        ) from error
