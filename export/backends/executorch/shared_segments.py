"""Cuts out of a .pte what it holds twice: data that equals one of its constants.

A tied vocabulary table is a constant for the embedding and named data for XNNPACK's head. A
segment of named data may lie anywhere in the file, so the head's is pointed at the constant, its
own bytes are cut out, and what follows moves up.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

from executorch.exir._serialize.generated.executorch_flatbuffer.DataSegment import DataSegment
from executorch.exir._serialize.generated.executorch_flatbuffer.Program import Program
from executorch.exir._serialize.generated.executorch_flatbuffer.SubsegmentOffsets import (
    SubsegmentOffsets,
)

_SMALLEST_BYTES = 1 << 20
_ALIGNMENT = 4096  # what follows stays aligned as it was
# Slots in their tables (executorch/schema/program.fbs). The generated accessors of child tables
# work only once executorch has read a program itself.
_SEGMENTS_SLOT, _CONSTANTS_SLOT = 12, 14  # of Program
_OFFSET_SLOT = 4  # of DataSegment
_REFERENCE_BYTES = 4
# The extended header (executorch/exir/_serialize/_program.py): after 8 bytes of the flatbuffer and
# 8 of its own come program size, segment base offset and segment data size.
_BASE_AT, _DATA_SIZE_AT = 24, 32


@dataclass(frozen=True)
class _Segment:
    table: DataSegment
    start: int  # in the file

    @property
    def size(self) -> int:
        return int(self.table.Size())


def share_segments(path: Path) -> None:
    """Cut out of the file every large segment that equals a part of its constants."""
    with path.open("r+b") as file:
        with mmap(file.fileno(), 0) as data:
            size = len(data)
            while (found := next(_shared(data), None)) is not None:
                size -= _cut(data, size, *found)
        file.truncate(size)


def _segments(data: mmap) -> list[_Segment]:
    program, base, found = Program.GetRootAs(data), _read(data, _BASE_AT), []
    first = program._tab.Vector(program._tab.Offset(_SEGMENTS_SLOT))
    for index in range(program.SegmentsLength()):
        table = DataSegment()
        table.Init(data, program._tab.Indirect(first + _REFERENCE_BYTES * index))
        found.append(_Segment(table, base + table.Offset()))
    return found


def _constants(data: mmap) -> SubsegmentOffsets:
    """Which segment holds the constants, and where each of them begins in it."""
    program, found = Program.GetRootAs(data), SubsegmentOffsets()
    at = program._tab.Pos + program._tab.Offset(_CONSTANTS_SLOT)
    found.Init(data, program._tab.Indirect(at))
    return found


def _shared(data: mmap) -> Iterator[tuple[_Segment, int]]:
    """Segments that lie apart from the constants that they equal, and where those are."""
    segments, constants = _segments(data), _constants(data)
    home = segments[constants.SegmentIndex()]
    end = home.start + home.size
    places = {home.start + constants.Offsets(i) for i in range(constants.OffsetsLength())}
    for segment in segments:
        if segment.size < _SMALLEST_BYTES or home.start <= segment.start < end:
            continue
        for place in sorted(places):
            if place + segment.size <= end and _equal(data, segment, place):
                yield segment, place


def _equal(data: mmap, segment: _Segment, place: int) -> bool:
    view = memoryview(data)
    mine = view[segment.start : segment.start + segment.size]
    other = view[place : place + segment.size]
    try:
        return bytes(mine[:_ALIGNMENT]) == bytes(other[:_ALIGNMENT]) and mine == other
    finally:
        for part in (mine, other, view):
            part.release()


def _cut(data: mmap, size: int, segment: _Segment, place: int) -> int:
    """Point `segment` at `place` and move up what follows it; how many bytes that saves."""
    base, saved = _read(data, _BASE_AT), segment.size // _ALIGNMENT * _ALIGNMENT
    end = segment.start + saved
    for other in _segments(data):
        if other.start >= end:
            _write(data, _offset_at(other.table), other.start - saved - base)
    _write(data, _offset_at(segment.table), place - base)
    _write(data, _DATA_SIZE_AT, _read(data, _DATA_SIZE_AT) - saved)
    data.move(segment.start, end, size - end)
    return saved


def _offset_at(table: DataSegment) -> int:
    slot = table._tab.Offset(_OFFSET_SLOT)  # no accessor tells where a field is
    assert slot, "only the first segment is at 0, and that is the constants'"
    return int(table._tab.Pos + slot)


def _read(data: mmap, at: int) -> int:
    value: int = struct.unpack_from("<Q", data, at)[0]
    return value


def _write(data: mmap, at: int, value: int) -> None:
    struct.pack_into("<Q", data, at, value)
