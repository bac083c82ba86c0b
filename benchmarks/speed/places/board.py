"""Answers one request on a board: a line of JSON on stdin, the last line on stdout.

Usage: python -m tinyaya.benchmarks.speed.places.board; `places.host` starts it by ssh. When stdin
ends, whoever asked has gone: the measurement is ended, so that nothing goes on unseen and disturbs
the next.
"""

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import IO, Any

from tinyaya.benchmarks.speed.contender import parse_job
from tinyaya.benchmarks.speed.places.local import Here
from tinyaya.runtime import open_bundle
from tinyaya.runtime.errors import BenchError, TinyAyaError
from tinyaya.runtime.whole_file import file_sha256

_LOCK_FILE = Path("../lock")  # beside the code, where this is started
_LOCK_INTERVAL_S = 0.2
_LOCK_TIMEOUT_S = 20.0  # for a measurement whose asker has just gone


def answer(request: Mapping[str, Any]) -> Any:
    """What `request` asks for; raises BenchError and RunError."""
    return _ANSWERERS[request["ask"]](request)


def _describe(request: Mapping[str, Any]) -> Any:
    return asdict(Here().describe())


def _bandwidths(request: Mapping[str, Any]) -> Any:
    with _alone():
        found = Here().bandwidths(tuple(request["threads"]), tuple(request["cpus"]))
    return [asdict(row) for row in found]


def _run(request: Mapping[str, Any]) -> Any:
    with _alone():
        return asdict(Here().run(parse_job(request["job"])))


def _check(request: Mapping[str, Any]) -> Any:
    """Whether the bundle has arrived whole: its manifest is that one, its files fit to it."""
    folder = Path(request["bundle"])
    opened = open_bundle(folder)
    if file_sha256(opened.folder / "manifest.json") != request["manifest_sha256"]:
        raise BenchError(f"{folder} holds another bundle")
    return True


_ANSWERERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "describe": _describe,
    "bandwidths": _bandwidths,
    "run": _run,
    "check": _check,
}


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the machine; raises BenchError while another measurement runs."""
    with _LOCK_FILE.open("w") as file:
        until = time.monotonic() + _LOCK_TIMEOUT_S
        while not _locked(file):
            if time.monotonic() > until:
                raise BenchError("another benchmark runs on this machine; wait for it")
            time.sleep(_LOCK_INTERVAL_S)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_with_stdin() -> None:
    """Wait for stdin to end, then end this process and what it started."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Answer one request."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    request = json.loads(_first_line())
    Thread(target=_end_with_stdin, daemon=True).start()
    try:
        found = {"answer": answer(request)}
    except (TinyAyaError, OSError) as error:
        found = {"error": str(error)}
    print(json.dumps(found), flush=True)


def _first_line() -> bytes:
    """Read unbuffered, so that what follows is left to the thread that waits for the end."""
    line = b""
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"\n", b""):
        line += byte
    return line


if __name__ == "__main__":
    main()
