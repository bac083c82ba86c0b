"""Kills a process at a named place of what it does, as if the power went: no sleeps, no chance.

A place is a stage of its progress, or an audit event of Python with a part of its arguments:
Place("stage", "onnx: lower"), Place("os.rename", ".partial-").

Usage: python -m tests.failpoints EVENT NAME MODULE [ARGUMENT ...]
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple

from tinyaya.runtime.progress import Advance, NamedProgress


class Place(NamedTuple):
    """What happens there, and a part of what it happens to."""

    event: str
    name: str


def die_at(place: Place) -> None:
    """Have this process kill itself when it comes there."""

    def heard(event: str, arguments: object) -> None:
        if event == place.event and place.name in str(arguments):
            os.kill(os.getpid(), signal.SIGKILL)

    if place.event != "stage":
        sys.addaudithook(heard)
        return
    stage = NamedProgress.stage

    def announced(self: NamedProgress, name: str, *total: int | None, **unit: str) -> Advance:
        heard("stage", name)
        return stage(self, name, *total, **unit)

    NamedProgress.stage = announced  # type: ignore[method-assign]


def fork_that_dies_at(place: Place, work: Callable[[], object]) -> bool:
    """Do the work in a fork of this process, which has one thread; whether it got killed there."""
    process = os.fork()
    if not process:
        die_at(place)
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


if __name__ == "__main__":
    die_at(Place(*sys.argv[1:3]))
    sys.argv = sys.argv[3:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
