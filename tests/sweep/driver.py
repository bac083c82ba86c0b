"""A sweep of quick children, which tests kill. Usage: python driver.py OUT [RAY]."""

import sys
from pathlib import Path

from tests.sweep.tasks import CHILD, make_task
from tinyaya.export.sweep.run import run_sweep
from tinyaya.export.sweep.task import Sweep

ALL = [f"t{index}-onnx" for index in range(12)]


def main(out: Path, ray: str | None = None) -> None:
    tasks = [make_task(name.removesuffix("-onnx")) for name in ALL]
    run_sweep(
        Sweep(out=out, tasks=tasks), ray=ray, jobs=2, tell=lambda task, what: None, child=CHILD
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
