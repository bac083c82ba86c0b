"""Names where a sweep keeps what: bundles in the open, all else in a hidden folder beside them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyaya.runtime.whole_file import write_whole

STATE_FOLDER = ".sweep"


@dataclass(frozen=True, kw_only=True)
class TaskFiles:
    """Of one task; a result file is whole or absent, and then the task is finished."""

    out: Path
    name: str

    @property
    def bundle(self) -> Path:
        """What the export makes."""
        return self.out / self.name

    @property
    def task(self) -> Path:
        """What is to be done."""
        return self._state("task.json")

    @property
    def begun(self) -> Path:
        """The key of the task that `bundle` is of."""
        return self._state("begun.json")

    @property
    def result(self) -> Path:
        """What came out."""
        return self._state("result.json")

    @property
    def replaced(self) -> Path:
        """A bundle of other options, on its way out."""
        return self._state("replaced")

    @property
    def log(self) -> Path:
        """What the process wrote."""
        return self._state("log.txt")

    def work(self, group: str) -> Path:
        """Where finished layers of a calibration are kept for all backends."""
        return self.out / STATE_FOLDER / f"work-{group}"

    def finished(self, key: str) -> bool:
        """Whether the result of a task of that key is there."""
        bundle = self.bundle / "manifest.json"
        return bundle.exists() and read_json(self.result).get("key") == key

    def _state(self, name: str) -> Path:
        return self.out / STATE_FOLDER / self.name / name


def read_json(path: Path) -> dict[str, Any]:
    """An object of a file that `write_json` wrote; empty where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: object) -> None:
    """Write JSON, in a folder that is made if need be: a crash leaves the old file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1))
