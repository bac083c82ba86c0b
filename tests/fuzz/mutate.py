"""Seeded mutations of bytes and of JSON, and a judge: only named errors, no hang."""

import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import FrameType
from typing import Any

from tinyaya.runtime.errors import TinyAyaError

LIMIT_S = 120  # of the clock: the machine may be busy
_VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, -0.5, "", "x", "../x", "/etc/passwd", "\x00",
    "a/b", "\ud800", [], {}, [[]], [1, 2], {"a": 1}, "model.onnx", "manifest.json",
]  # fmt: skip


class HangError(BaseException):
    """It took longer than it may."""


@contextmanager
def limited() -> Iterator[None]:
    """Raise HangError after LIMIT_S seconds."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def survives(action: Callable[[], object]) -> bool:
    """Whether `action` went through; False for an error by name, anything else is raised."""
    with limited():
        try:
            action()
        except TinyAyaError as error:
            assert str(error) and "\n" not in str(error), error
            return False
    return True


def mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, insert or overwrite, up to four times."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(found) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[at : at + chance.choice((1, 8, 100, 10**9))]
        elif kind == 2:
            found[at:at] = found[at : at + chance.randint(1, 200)]
        elif kind == 3:
            found[at:at] = chance.randbytes(chance.randint(1, 16))
        elif kind == 4 and len(found) > 8:
            found[at : at + 8] = (chance.choice((0, 2**63, 2**31, 255))).to_bytes(8, "little")
        else:
            found[at : at + 4] = chance.choice((b"null", b'""', b"[[", b"\\u0", b"9999", b"\xff"))
    return bytes(found)


def mutated_json(value: Any, chance: random.Random) -> Any:
    """Replace, drop, double or rename something, up to three times."""
    found = json.loads(json.dumps(value))
    for _ in range(chance.randint(1, 3)):
        places = list(_places(found))
        if not places:
            return deepcopy(chance.choice(_VALUES))
        owner, key = chance.choice(places)
        kind = chance.randrange(4)
        if kind == 0:
            del owner[key]
        elif kind == 1 and isinstance(owner, dict):
            owner[chance.choice(("x", "", "../x", "format", "n", "stop"))] = deepcopy(owner[key])
        elif kind == 2 and isinstance(owner, list):
            owner += [deepcopy(owner[key]) for _ in range(chance.choice((1, 3, 200)))]
        else:
            owner[key] = deepcopy(chance.choice(_VALUES))
    return found


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(value, (dict, list)):
        return
    for key in list(value)[:50] if isinstance(value, dict) else range(min(len(value), 50)):
        yield value, key
        yield from _places(value[key])
