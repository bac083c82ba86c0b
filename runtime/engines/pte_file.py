"""Reads in a .pte whether its attention may take 8-bit caches as they are.

Programs turn such caches to float32 at each step, as the official attention wants them. Where the
file shows that attention alone reads what comes out, the native engine leaves that out.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_INT8_TYPE, _FLOAT32_TYPE = 1, 6  # of ScalarType, in schema/scalar_type.fbs
_TENSOR_VALUE = 5  # of KernelTypes, in schema/program.fbs
_KERNEL, _DELEGATE, _MOVE, _JUMP, _FREE = range(1, 6)  # of InstructionArguments
_UPDATE_OPERATORS = ("llama::update_cache.out", "llama::update_cache_with_indices.out")
_SLICE, _WIDEN, _ATTEND = (
    "aten::slice_copy.Tensor_out",
    "aten::_to_copy.out",
    "llama::custom_sdpa.out",
)
_KEYS_ARG, _VALUES_ARG, _WIDENED_ARG, _SLICED_ARG = 1, 2, 3, 5  # two that are read, two written


class _Call(NamedTuple):
    """An instruction, by the values that it names; operator: empty for all but operators."""

    operator: str
    args: tuple[int, ...]


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer; fields by their number in schema/program.fbs."""

    data: mmap.mmap
    at: int

    def _place(self, field: int) -> int | None:
        vtable = self.at - self._number("<i", self.at)
        if 4 + 2 * field >= self._number("<H", vtable):
            return None
        offset = self._number("<H", vtable + 4 + 2 * field)
        return self.at + offset if offset else None

    def _number(self, kind: str, at: int) -> int:
        value: int = struct.unpack_from(kind, self.data, at)[0]
        return value

    def _target(self, place: int) -> int:
        return place + self._number("<I", place)

    def number(self, field: int, kind: str = "<i") -> int:
        place = self._place(field)
        return 0 if place is None else self._number(kind, place)

    def table(self, field: int) -> "_Table":
        place = self._place(field)
        if place is None:
            raise ValueError(f"field {field} is missing")
        return _Table(self.data, self._target(place))

    def text(self, field: int) -> str:
        start, count = self._vector(field)
        return self.data[start : start + count].decode()

    def numbers(self, field: int) -> tuple[int, ...]:
        start, count = self._vector(field)
        return struct.unpack_from(f"<{count}i", self.data, start)

    def tables(self, field: int) -> list["_Table"]:
        start, count = self._vector(field)
        places = range(start, start + 4 * count, 4)
        return [_Table(self.data, self._target(place)) for place in places]

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        start = self._target(place)
        return start + 4, self._number("<I", start)


def attention_may_read_codes(path: Path) -> bool:
    """Whether all 8-bit caches of `forward` are turned to float32 for attention alone.

    False, too, for a file that cannot be read so: whoever loads it says what is wrong.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _may_read_codes(_Table(data, struct.unpack_from("<I", data, 0)[0]))
    except (OSError, ValueError, LookupError, struct.error, MemoryError):
        return False


def _may_read_codes(program: _Table) -> bool:
    (plan,) = (plan for plan in program.tables(1) if plan.text(0) == "forward")
    (chain,) = plan.tables(5)
    names = [f"{operator.text(0)}.{operator.text(1)}" for operator in plan.tables(6)]
    calls = [_call(instruction, names) for instruction in chain.tables(2)]
    types = [_type(value) for value in plan.tables(2)]
    return _Flow(calls, types).is_for_attention_alone()


def _call(instruction: _Table, names: Sequence[str]) -> _Call:
    kind, args = instruction.number(0, "<B"), instruction.table(1)
    if kind == _KERNEL:
        return _Call(names[args.number(0)], args.numbers(1))
    if kind == _DELEGATE:
        return _Call("", args.numbers(1))
    if kind == _MOVE:
        return _Call("", (args.number(0), args.number(1)))
    return _Call("", (args.number(0),) if kind == _JUMP else ())


def _type(value: _Table) -> int | None:
    """The ScalarType of a tensor."""
    return value.table(1).number(0, "<b") if value.number(0, "<B") == _TENSOR_VALUE else None


class _Flow:
    """Where the caches' codes go, from call to call."""

    def __init__(self, calls: Sequence[_Call], types: Sequence[int | None]) -> None:
        self._calls = calls
        self._written: dict[int, int] = {}  # cache -> the last call that writes to it
        self._uses: dict[int, list[int]] = {}  # value -> the calls that name it
        for index, call in enumerate(calls):
            for value in set(call.args):
                self._uses.setdefault(value, []).append(index)
            if call.operator in _UPDATE_OPERATORS and types[call.args[1]] == _INT8_TYPE:
                self._written[call.args[1]] = index
        self._types = types

    def is_for_attention_alone(self) -> bool:
        """Whether each cache's readers are what the native operators leave out."""
        turned: dict[int, set[int]] = {}  # call of attention -> its operands that are caches
        for cache, written in self._written.items():
            for index in self._uses[cache]:
                call = self._calls[index]
                if call.operator in _UPDATE_OPERATORS:
                    continue
                if index < written or call.args[0] != cache:
                    return False
                widening = (
                    self._only_reader(index, _SLICED_ARG) if call.operator == _SLICE else index
                )
                attending = self._widened_for(widening)
                if attending is None or widening is None:
                    return False
                operands = self._calls[attending].args
                turned.setdefault(attending, set()).add(
                    operands.index(self._calls[widening].args[_WIDENED_ARG])
                )
        return bool(turned) and all(found == {_KEYS_ARG, _VALUES_ARG} for found in turned.values())

    def _widened_for(self, index: int | None) -> int | None:
        """The attention that alone reads what the call widens; None where there is no such."""
        if index is None or self._calls[index].operator != _WIDEN:
            return None
        if self._types[self._calls[index].args[_WIDENED_ARG]] != _FLOAT32_TYPE:
            return None
        attending = self._only_reader(index, _WIDENED_ARG)
        found = attending is not None and self._calls[attending].operator == _ATTEND
        return attending if found else None

    def _only_reader(self, index: int, out: int) -> int | None:
        """The one other call that names what the call writes, if it comes later."""
        others = [use for use in self._uses[self._calls[index].args[out]] if use != index]
        return others[0] if len(others) == 1 and others[0] > index else None
