"""Runs tasks as child processes on the nodes of a Ray cluster; Ray places them by memory.

All nodes have this package, and the checkpoints and results at the same paths.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyaya.export.errors import MissingExtraError
from tinyaya.export.sweep.files import TaskFiles
from tinyaya.export.sweep.local import CHILD_COMMAND, Tell, describe, said
from tinyaya.export.sweep.task import Task
from tinyaya.runtime.errors import OptionError

_CONNECT_TIMEOUT_S = 10


def run_on_cluster(
    address: str, out: Path, tasks: Sequence[Task], tell: Tell, child: Sequence[str] = CHILD_COMMAND
) -> None:
    """Run all tasks on the cluster at `address`; `tell` hears where one was and how it ended.

    child: what the nodes' Python is called with. Raises MissingExtraError without Ray, and
    OptionError for a cluster that is not there or has no node large enough.
    """
    ray = _ray()
    try:
        _check_reachable(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OptionError(f"no Ray cluster answers at {address}: {reason}") from error
    try:
        _check_sizes(ray.nodes(), tasks)
        _run(ray, out, tasks, tell, child)
    finally:
        ray.shutdown()  # ends what is running, too


def _run(ray: Any, out: Path, tasks: Sequence[Task], tell: Tell, child: Sequence[str]) -> None:
    remote = ray.remote(run_child)
    waiting: dict[Any, Task] = {}
    last: dict[str, Any] = {}  # of a group; the next one waits for it
    for task in tasks:
        describe(out, task)
        sized = remote.options(num_cpus=1, memory=task.peak_bytes, name=task.name)
        last[task.group] = sized.remote(str(out), task.name, tuple(child), last.get(task.group))
        waiting[last[task.group]] = task
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        task = waiting.pop(done[0])
        try:
            node, status = ray.get(done[0])
        except ray.exceptions.RayError as error:
            tell(task, f"lost: {' '.join(str(error).split())[:200]}")
            continue
        tell(task, said(out, task, status) + (f" on {node}" if status == 0 else ""))


def run_child(out: str, name: str, child: Sequence[str], after: object) -> tuple[str, int]:
    """On a node: its id, and the exit status of the task's process.

    after: what the task before it in its group came to, so that Ray waits for that.
    """
    import ray

    with TaskFiles(out=Path(out), name=name).log.open("wb") as log:
        process = subprocess.run(
            [sys.executable, *child, out, name, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return ray.get_runtime_context().get_node_id()[:8], process.returncode


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes; "auto" and "local" are no addresses."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()


def _check_sizes(nodes: Sequence[Any], tasks: Sequence[Task]) -> None:
    """Ray would wait for a larger node for ever."""
    largest = max(
        (node["Resources"].get("memory", 0) for node in nodes if node["Alive"]), default=0
    )
    for task in tasks:
        if task.peak_bytes > largest:
            raise OptionError(
                f"{task.name} is planned to need {task.peak_bytes / 1e9:.2f} GB of memory, the "
                f"largest node of the cluster has {largest / 1e9:.2f} GB; add a larger node"
            )


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "--ray needs the package ray; pip install 'tinyaya-export[cluster]'"
        ) from error
    return ray
