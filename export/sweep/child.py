"""Does one task of a sweep in a process of its own: export, evaluation, and a result file.

Usage: python -m tinyaya.export.sweep.child OUT NAME PARENT. The process dies with PARENT, its
parent's id.
"""

import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinyaya.export.sweep.files import TaskFiles, read_json, write_json
from tinyaya.export.sweep.task import Task
from tinyaya.runtime.errors import TinyAyaError

_PR_SET_PDEATHSIG = 1


def main(out: Path, name: str, parent: int) -> int:
    """Do the task that is described in its folder; 0 if its result is there."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before this was asked for
        return 1
    files = TaskFiles(out=out, name=name)
    row = read_json(files.task)
    task = Task(**{**row, "languages": tuple(row["languages"])})
    try:
        _do(task, files)
    except TinyAyaError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _do(task: Task, files: TaskFiles) -> None:
    if read_json(files.begun).get("key") != task.key:
        _remove_bundle(files)
        write_json(files.begun, {"key": task.key})
    began = time.monotonic()
    if not (files.bundle / "manifest.json").exists():  # bundles appear whole
        _export(task, files)
    exported = time.monotonic()
    quality = _quality(task, files)
    manifest = read_json(files.bundle / "manifest.json")
    result = {
        "key": task.key,
        "bytes": sum(row["bytes"] for row in manifest["files"].values()),
        "parity": manifest["parity"],
        "verified": bool((manifest["parity"] or {}).get("kl_to_fp32") is not None),
        "vocabulary": manifest["model"]["vocab_size"],
        "quality": quality,
        "export_s": round(exported - began, 1),
        "evaluate_s": round(time.monotonic() - exported, 1),
    }
    write_json(files.result, result)


def _export(task: Task, files: TaskFiles) -> None:
    from tinyaya.export.pipeline import export_bundle

    work = files.work(task.group)
    options = task.options()
    if options.find_recipe().calibrated:
        options = task.options(work)
    export_bundle(Path(task.source), files.bundle, options)


def _quality(task: Task, files: TaskFiles) -> Mapping[str, Any] | None:
    if task.evaluate is None:
        return None
    from tinyaya.export.quality.evaluate import EvaluateOptions, evaluate_bundle
    from tinyaya.runtime.progress import Silent

    options = EvaluateOptions(**task.evaluate)
    quality = evaluate_bundle(files.bundle, Path(task.source), options, Silent())
    return asdict(quality)


def _remove_bundle(files: TaskFiles) -> None:
    """Of other options, at once; what is no bundle stays, and the export refuses it."""
    shutil.rmtree(files.replaced, ignore_errors=True)
    if (files.bundle / "manifest.json").exists():
        files.bundle.rename(files.replaced)
        shutil.rmtree(files.replaced)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
