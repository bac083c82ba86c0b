"""As `tinyaya.export.sweep.child`, but quick; keeps a diary of what it began and ended.

Usage: python child.py OUT NAME PARENT. Names say what happens: "fails", "dies", or it works. At
the place in KILL, such as "t3 bundle", it kills its parent.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from tinyaya.export.sweep.files import TaskFiles, read_json, write_json

SECONDS = 0.3
_PR_SET_PDEATHSIG = 1


def note(out: Path, text: str) -> None:
    with (out / "diary").open("a", encoding="utf-8") as diary:
        diary.write(f"{text} {os.getpid()} {time.monotonic()}\n")


def come_to(place: str, parent: int) -> None:
    """Kill the parent, if this is where; its children die with it."""
    if os.environ.get("KILL") == place:
        os.kill(parent, signal.SIGKILL)
        signal.pause()


def main(out: Path, name: str, parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    files = TaskFiles(out=out, name=name)
    task = read_json(files.task)
    note(out, f"begin {name}")
    come_to(f"{name} begin", parent)
    if "fails" in name:
        sys.stderr.write("noise\nthe weights are not finite; export others\n")
        sys.exit(2)
    if "dies" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(SECONDS)
    files.bundle.mkdir(exist_ok=True)
    write_json(files.bundle / "manifest.json", {})
    come_to(f"{name} bundle", parent)
    note(out, f"end {name}")
    result = {"key": task["key"], "bytes": 1, "parity": None, "verified": False}
    write_json(files.result, {**result, "vocabulary": 1, "quality": None, "export_s": SECONDS})
    come_to(f"{name} result", parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
