"""Reads a sweep file into tasks, one export each; all is checked before any work.

A sweep file is TOML; docs/sweep.md says what may stand in it.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from tinyaya.export.backends import find_backend
from tinyaya.export.bundle.resolve import resolve_export
from tinyaya.export.languages.variants import resolve_languages
from tinyaya.export.plan.estimate import plan_export
from tinyaya.export.quality.evaluate import EvaluateOptions
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.export.sweep.task import Sweep, Task
from tinyaya.export.vocabulary.choose import trimmed
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Silent

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEY_TYPES: Mapping[str, type] = {
    "out": str,
    "checkpoints": dict,
    "recipes": list,
    "backends": list,
    "languages": dict,
    "export": dict,
    "evaluate": dict,
}
_REQUIRED_KEYS = ("out", "checkpoints", "recipes", "backends")
_EXPORT_KEY_TYPES: Mapping[str, type] = {
    "context": int,
    "chunk": int,
    "kv": str,
    "preamble": str,
    "keep": str,
    "calibrate": bool,
    "calibration_tokens": int,
    "verify": bool,
}
_EVALUATE_KEY_TYPES: Mapping[str, type] = {"tokens": int, "sentences": int}


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep file; its relative paths begin at its own folder.

    Raises ExportError or QuantizeError, whose one line says what is wrong with it.
    """
    raw = _parsed(path)
    _check_kinds(path, "", raw, _KEY_TYPES)
    if missing := [key for key in _REQUIRED_KEYS if not raw.get(key)]:
        raise OptionError(f"{path}: {missing[0]} is missing or empty; expected docs/sweep.md's")
    _check_kinds(path, "export.", raw.get("export", {}), _EXPORT_KEY_TYPES)
    _check_kinds(path, "evaluate.", raw.get("evaluate", {}), _EVALUATE_KEY_TYPES)
    folder = path.absolute().parent
    tasks = _tasks(path, raw, folder)
    checkpoints = {task.source: open_checkpoint(Path(task.source)) for task in tasks}
    planned = _planned(tasks, checkpoints)
    return Sweep(out=folder / raw["out"], tasks=planned)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # broken TOML and UTF-8 are ValueErrors
        reason = " ".join(str(error).split())
        raise OptionError(f"{path}: cannot read: {reason}; expected a sweep in TOML") from error


def _check_kinds(
    path: Path, table: str, found: Mapping[str, Any], known: Mapping[str, type]
) -> None:
    for key, value in found.items():
        if key not in known:
            raise OptionError(f"{path}: {table}{key} is unknown; known: {', '.join(known)}")
        if type(value) is not known[key]:
            raise OptionError(f"{path}: {table}{key} is {value!r}; expected {known[key].__name__}")


def _tasks(path: Path, raw: Mapping[str, Any], folder: Path) -> list[Task]:
    languages: Mapping[str, Any] = raw.get("languages") or {"": []}
    codes = {name: _codes(path, name, listed) for name, listed in languages.items()}
    _check_texts(path, "recipes", raw["recipes"])
    _check_texts(path, "backends", raw["backends"])
    _check_texts(path, "checkpoints", list(raw["checkpoints"].values()))
    tasks = []
    for (variant, source), recipe, language_set, backend in product(
        raw["checkpoints"].items(), raw["recipes"], languages, raw["backends"]
    ):
        parts = (variant, Path(recipe).stem, language_set, backend)
        task = Task(
            name="-".join(part for part in parts if part),
            variant=variant,
            source=str(folder / source),
            recipe=str(folder / recipe) if recipe.endswith(".json") else recipe,
            backend=backend,
            language_set=language_set,
            languages=codes[language_set],
            export=raw.get("export", {}),
            evaluate=raw.get("evaluate"),
        )
        _check(path, task)
        tasks.append(task)
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"{path}: two tasks are called {twice[0]}; name something otherwise")
    return tasks


def _codes(path: Path, name: str, listed: Any) -> tuple[str, ...]:
    _check_texts(path, f"languages.{name}", listed)
    return (
        tuple(language.code for language in resolve_languages(",".join(listed))) if listed else ()
    )


def _check_texts(path: Path, key: str, found: Any) -> None:
    if not isinstance(found, list) or not all(isinstance(value, str) for value in found):
        raise OptionError(f"{path}: {key} is {found!r}; expected strings")


def _check(path: Path, task: Task) -> None:
    """All that can be said before the checkpoint is opened."""
    if not _FOLDER_NAME.fullmatch(task.name):
        raise OptionError(
            f"{path}: {task.name!r} is to be a folder's name; expected letters, digits, - _ and ."
        )
    find_backend(task.backend)
    task.options().find_recipe()
    if task.evaluate is not None:
        EvaluateOptions(**task.evaluate)


def _planned(tasks: Sequence[Task], checkpoints: Mapping[str, Checkpoint]) -> list[Task]:
    planned: list[Task] = []
    views: dict[tuple[str, ...], Checkpoint] = {}
    for task in tasks:
        view = (task.source, *task.languages)
        if view not in views:
            views[view] = trimmed(checkpoints[task.source], task.options(), Silent())
        export = resolve_export(views[view], task.options())
        plan = plan_export(export, find_backend(task.backend))
        planned.append(
            Task(
                **{
                    **vars(task),
                    "key": _key(task, checkpoints[task.source]),
                    "peak_bytes": plan.export_peak_bytes,
                }
            )
        )
    return planned


def _key(task: Task, checkpoint: Checkpoint) -> str:
    states = sorted((path.name, str(state)) for path, state in checkpoint.states.items())
    rests_on = [asdict(task), asdict(task.options().find_recipe()), states]
    return hashlib.sha256(json.dumps(rests_on, sort_keys=True).encode()).hexdigest()
