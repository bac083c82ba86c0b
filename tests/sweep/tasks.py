"""Tasks of quick children."""

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
