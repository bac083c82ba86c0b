"""Runs tasks as child processes here; no more at once than memory allows."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyaya.export.sweep.files import TaskFiles, write_json
from tinyaya.export.sweep.task import Task

Tell = Callable[[Task, str], None]
_POLL_INTERVAL_S = 0.05
CHILD_COMMAND = ("-m", "tinyaya.export.sweep.child")


@dataclass(frozen=True, kw_only=True)
class LocalLimits:
    """jobs: at once, at most. memory_bytes: that the plans of those at once may add up to."""

    jobs: int
    memory_bytes: int


def run_locally(
    out: Path,
    tasks: Sequence[Task],
    *,
    limits: LocalLimits,
    tell: Tell,
    child: Sequence[str] = CHILD_COMMAND,
) -> None:
    """Run all tasks; `tell` hears when one starts and how it ended.

    child: what Python is called with, before the folder, a task's name and this process's id.
    Children die with this process.
    """
    waiting, running = list(tasks), dict[str, tuple[Task, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            for task in _startable(waiting, [task for task, _ in running.values()], limits):
                waiting.remove(task)
                tell(task, "started")
                running[task.name] = (task, _start(out, task, child))
            time.sleep(_POLL_INTERVAL_S)
            for task, process in list(running.values()):
                if process.poll() is not None:
                    del running[task.name]
                    tell(task, said(out, task, process.returncode))
    finally:
        for _, process in running.values():
            process.kill()
            process.wait()


def said(out: Path, task: Task, status: int) -> str:
    """What a child said of its end: "finished", or the reason why it is not."""
    if status == 0:
        return "finished"
    lines = TaskFiles(out=out, name=task.name).log.read_text("utf-8", "replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return last if status == 2 and last else f"{how}: {last}"


def describe(out: Path, task: Task) -> None:
    """Tell the child what to do."""
    write_json(TaskFiles(out=out, name=task.name).task, vars(task))


def _startable(waiting: Sequence[Task], running: list[Task], limits: LocalLimits) -> list[Task]:
    """Those that may run beside others; one of a group at a time."""
    chosen: list[Task] = []
    for task in waiting:
        beside = running + chosen
        fits = task.peak_bytes + sum(each.peak_bytes for each in beside) <= limits.memory_bytes
        if fits and len(beside) < limits.jobs and task.group not in {each.group for each in beside}:
            chosen.append(task)
    return chosen


def _start(out: Path, task: Task, child: Sequence[str]) -> subprocess.Popen[bytes]:
    """From the main thread: a child asks to die with the thread that started it."""
    describe(out, task)
    with TaskFiles(out=out, name=task.name).log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *child, str(out), task.name, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
