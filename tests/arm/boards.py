"""Processors that qemu emulates, and a job on one of them: tasks of `guest.py` in, results out.

Emulated: what is computed and which instructions do it are those of the board; time is not.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).parents[2]
_NAMESPACE = _REPOSITORY / "tests/namespace"  # `tinyaya`, without an install
GUEST = Path(__file__).with_name("guest.py")
_SECONDS = 3600  # of wall time, on a machine that may do other things


@dataclass(frozen=True, kw_only=True)
class Board:
    """A row of BOARDS.

    model: of qemu's -cpu. files: the folder of `environment.sh` with what the system says of the
    processor. features: those of `guest.features` that it has. integer: engines whose int4 and
    int8 products are of 8-bit activations here; others multiply floats.
    """

    model: str
    files: str
    features: frozenset[str]
    integer: frozenset[str]


BOARDS: Mapping[str, Board] = {
    "pi4": Board(
        model="cortex-a72",
        files="cortex-a72",
        features=frozenset(),
        integer=frozenset({"executorch"}),
    ),
    "pi5": Board(
        model="cortex-a76",
        files="cortex-a76",
        features=frozenset({"fp16", "dotprod"}),
        integer=frozenset({"onnx", "executorch"}),
    ),
    "i8mm": Board(
        model="max,sve=off,sme=off",
        files="max",
        features=frozenset({"fp16", "dotprod", "i8mm"}),
        integer=frozenset({"onnx", "executorch"}),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job came to.

    results: by the names of tasks. counts: one row a mark, with what was executed since the mark
    before. died: how, and at which task; empty: it did not.
    """

    results: Mapping[str, Any]
    counts: Sequence[tuple[int, Mapping[str, int]]] = ()
    died: str = ""
    log: str = field(default="", repr=False)


def native_folder(machine: str) -> Path:
    """Where `ci.sh` and pytest put the library that runs `.pte` files without torch."""
    return _REPOSITORY / "build/native" / machine


def run_here(tasks: Sequence[Mapping[str, Any]], scratch: Path) -> Outcome:
    """The same tasks on this machine, without emulation."""
    path = f"{native_folder(platform.machine())}:{_NAMESPACE}"
    return _run([sys.executable], {**os.environ, "PYTHONPATH": path}, tasks, scratch)


def run_on(
    board: Board,
    cache: Path,
    tasks: Sequence[Mapping[str, Any]],
    scratch: Path,
    *,
    count: bool = False,
) -> Outcome:
    """Tasks on an emulated board; count: under the plugin that counts instructions.

    Addresses, random seeds and hashes are fixed, so that counts repeat.
    """
    environment = cache / "environment"
    paths = (environment / "site", native_folder("aarch64"), _NAMESPACE)
    variables = {
        "PYTHONPATH": ":".join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "HOME": str(scratch),
    }
    command = [
        *("setarch", "--addr-no-randomize", environment / "qemu/usr/bin/qemu-aarch64"),
        *("-cpu", board.model, "-seed", "1", "-U", "LD_LIBRARY_PATH"),
        *("-L", environment / "boards" / board.files),
        *(("-plugin", environment / "count.so") if count else ()),
        *(part for pair in variables.items() for part in ("-E", "=".join(pair))),
        environment / "root/usr/bin/python3.11",
    ]
    libraries = environment / "qemu/usr/lib/x86_64-linux-gnu"
    search = {"LD_LIBRARY_PATH": str(libraries), "PATH": os.environ["PATH"]}
    return _run(list(map(str, command)), search, tasks, scratch)


def _run(
    python: list[str],
    variables: Mapping[str, str],
    tasks: Sequence[Mapping[str, Any]],
    scratch: Path,
) -> Outcome:
    shutil.rmtree(scratch, ignore_errors=True)  # what another run left there
    scratch.mkdir(parents=True)
    job, file = scratch / "job.json", scratch / "results.jsonl"
    job.write_text(json.dumps(tasks), encoding="utf-8")
    file.write_text("", encoding="utf-8")
    process = subprocess.run(
        [*python, str(GUEST), str(job), str(file)],
        env=variables,
        cwd=scratch,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_SECONDS,
    )
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    died = ""
    if process.returncode:
        begun = rows[-1]["name"] if rows else "the start"
        last = process.stderr.strip().splitlines()[-1:]
        died = f"exit status {process.returncode} at {begun}: {' '.join(last)}"
    return Outcome(
        results={row["name"]: row["result"] for row in rows if "result" in row},
        counts=[_counted(line) for line in process.stderr.splitlines() if line[:8] == "counted "],
        died=died,
        log=process.stderr,
    )


def _counted(line: str) -> tuple[int, Mapping[str, int]]:
    _, number, kinds = line.split(" ", 2)
    return int(number), json.loads(kinds)
