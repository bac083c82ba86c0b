"""Tasks of quick children, and what these leave."""

import time
from pathlib import Path

from tinyaya.export.sweep.task import Task

CHILD = (str(Path(__file__).with_name("child.py")),)


def make_task(name: str, *, peak_bytes: int = 1, group: str = "") -> Task:
    """group: of tasks that differ in their backend alone."""
    return Task(
        name=f"{group}-{name}" if group else f"{name}-onnx",
        variant=name,
        source="absent",
        recipe="fp32",
        backend=name if group else "onnx",
        language_set="",
        languages=(),
        export={},
        evaluate=None,
        key=f"key of {name}",
        peak_bytes=peak_bytes,
    )


def read_diary(out: Path) -> list[list[str]]:
    path = out / "diary"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_children(out: Path) -> None:
    """They die with their parent: none is alive a moment later."""
    pids = {row[2] for row in read_diary(out) if row[0] == "begin"}
    for _ in range(200):
        alive = [pid for pid in pids if _is_child(pid)]
        if not alive:
            return
        time.sleep(0.05)
    raise AssertionError(f"children outlive the sweep: {alive}")


def _is_child(pid: str) -> bool:
    try:
        return b"child.py" in Path("/proc", pid, "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
