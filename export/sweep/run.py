"""Runs a sweep and writes its page; what is finished is never done again."""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tinyaya.export.sweep.cluster import run_on_cluster
from tinyaya.export.sweep.files import STATE_FOLDER, TaskFiles, read_json
from tinyaya.export.sweep.local import CHILD_COMMAND, LocalLimits, Tell, run_locally
from tinyaya.export.sweep.page import Row, render_sweep
from tinyaya.export.sweep.task import Sweep, Task
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.whole_file import write_whole

PAGE_FILE = "index.html"
_USABLE_MEMORY_SHARE = 0.9  # of what is available; the rest is for what else the machine does
_CORES_PER_JOB = 4  # an export's arithmetic keeps several cores busy


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """page: the comparison. rows: one a task. failed: reasons by the names of tasks."""

    page: Path
    rows: tuple[Row, ...]
    failed: Mapping[str, str] = field(default_factory=dict)


def run_sweep(
    sweep: Sweep,
    *,
    ray: str | None,
    jobs: int | None,
    tell: Tell,
    child: Sequence[str] = CHILD_COMMAND,
) -> SweepResult:
    """Run the tasks without a result, here or on the Ray cluster at `ray`; write the page.

    jobs: at once here, at most; None takes one for every four cores. A task that fails does not
    keep others from running. child: what Python is called with. Raises OptionError before any
    work.
    """
    failed: dict[str, str] = {}

    def hear(task: Task, what: str) -> None:
        if what != "started" and not TaskFiles(out=sweep.out, name=task.name).finished(task.key):
            failed[task.name] = what
        tell(task, what)

    with _alone(sweep.out):
        waiting = [task for task in sweep.tasks if not _files(sweep, task).finished(task.key)]
        if ray is None:
            run_locally(sweep.out, waiting, limits=_limits(waiting, jobs), tell=hear, child=child)
        elif waiting:
            run_on_cluster(ray, sweep.out, waiting, hear, child)
        rows = tuple(_row(sweep, task, failed.get(task.name)) for task in sweep.tasks)
        page = sweep.out / PAGE_FILE
        write_whole(page, render_sweep(sweep.out.name, rows))
    return SweepResult(page=page, rows=rows, failed=failed)


def _limits(waiting: Sequence[Task], jobs: int | None) -> LocalLimits:
    from tinyaya.export.system.proc import available_memory_bytes

    memory_bytes = int(available_memory_bytes() * _USABLE_MEMORY_SHARE)
    for task in waiting:
        if task.peak_bytes > memory_bytes:
            raise OptionError(
                f"{task.name} is planned to need {task.peak_bytes / 1e9:.2f} GB of memory, "
                f"{memory_bytes / 1e9:.2f} GB may be used; close programs or use a larger machine"
            )
    if jobs is None:
        jobs = max(1, (os.cpu_count() or 1) // _CORES_PER_JOB)
    if jobs < 1:
        raise OptionError(f"jobs is {jobs}; expected at least 1")
    return LocalLimits(jobs=jobs, memory_bytes=memory_bytes)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One sweep at a time in a folder; the lock goes with the process."""
    try:
        (out / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
        lock = os.open(out / STATE_FOLDER / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise OptionError(f"cannot write {out}: {error.strerror}; choose another out") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise OptionError(f"another sweep is at work in {out}; wait for it") from error
    try:
        yield
    finally:
        os.close(lock)


def _files(sweep: Sweep, task: Task) -> TaskFiles:
    return TaskFiles(out=sweep.out, name=task.name)


def _row(sweep: Sweep, task: Task, failure: str | None) -> Row:
    files = _files(sweep, task)
    result = read_json(files.result) if files.finished(task.key) else {}
    return Row(task=task, result=result, failure=failure)
