"""Bundles in, what this machine and every emulated board say of them out; boards run at once."""

import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.texts import evaluation_texts
from runtime import Tokenizer, open_bundle
from tests.arm.boards import BOARDS, GUEST, Outcome, native_folder, run_here, run_on
from tests.arm.bundles import TRIMMED, bundle_path, make_bundles

# Backend: engine to ask for; None: its only one. The other engine of .pte files needs torch.
ENGINES: Mapping[str, str | None] = {"onnx": None, "executorch": "native"}
BUILT_OF = "tinyaya_native/built_of.txt"
GREEDY = ("pi4", "pi5")  # boards of the bar on equal tokens
COUNTED = ("pi5", "i8mm")  # boards with integer products for both backends
TEXT = "All human beings are born"
_FEED = 24  # tokens of a judged text that are fed at once
_PAST_WINDOW = 200

Task = dict[str, Any]
Key = tuple[str, str, str]  # board, backend, kind of job


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much is done: recipes, prompts to continue by how many tokens, texts to judge."""

    recipes: tuple[str, ...]
    prompts: int
    tokens: int
    texts: int
    singles: int


QUICK = Scope(recipes=("fp32", "int4"), prompts=4, tokens=40, texts=4, singles=40)
ALL = replace(QUICK, recipes=("fp32", "int8", "int4", "int4-small", "int4-quality"))
THOROUGH = replace(ALL, prompts=40, tokens=100)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """here: by backend, without emulation; there: by board, backend and kind of job."""

    here: Mapping[str, Mapping[str, Any]]
    there: Mapping[Key, Outcome]


def gather(cache: Path, folder: Path, scope: Scope, boards: Collection[str]) -> Facts:
    """Export, run here, then run on boards; folder: of bundles and of what was said of them."""
    folder.mkdir(parents=True, exist_ok=True)
    make_bundles(folder, list(ENGINES), [*scope.recipes, TRIMMED])
    jobs = {
        backend: dict(_jobs(folder, backend, engine, scope)) for backend, engine in ENGINES.items()
    }
    here = {
        backend: _here(cache, folder, _here_tasks(folder, backend, kinds, scope), backend)
        for backend, kinds in jobs.items()
    }
    wanted: list[Key] = [
        (board, backend, kind)
        for kind in ("greedy", "each", "count")  # the longest first
        for board in boards
        for backend in jobs
        if board in {"greedy": GREEDY, "count": COUNTED}.get(kind, BOARDS)
    ]

    def run(key: Key) -> Outcome:
        board, backend, kind = key
        scratch = folder / "-".join(key)
        return run_on(BOARDS[board], cache, jobs[backend][kind], scratch, count=kind == "count")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return Facts(here=here, there=dict(zip(wanted, pool.map(run, wanted), strict=True)))


def _here_tasks(
    folder: Path, backend: str, jobs: Mapping[str, Sequence[Task]], scope: Scope
) -> list[Task]:
    first = _reference(folder, scope) if backend == "onnx" else []
    saved = [task for task in jobs["each"] if task["kind"] == "resume"]
    saves = [{**task, "kind": "save", "name": "save"} for task in saved]
    return [*first, *saves, *jobs["each"], *jobs["greedy"]]


def _here(cache: Path, folder: Path, tasks: list[Task], backend: str) -> Mapping[str, Any]:
    """Results on this machine, kept beside the bundles."""
    digest = hashlib.sha256(GUEST.read_bytes() + json.dumps(tasks).encode())
    digest.update(native_folder(cache, platform.machine()).joinpath(BUILT_OF).read_bytes())
    kept = folder / f"here-{backend}-{digest.hexdigest()[:16]}.json"
    if not kept.exists():
        outcome = run_here(tasks, cache, folder / f"here-{backend}")
        if outcome.died:
            raise RuntimeError(f"{backend} here: {outcome.died}\n{outcome.log[-2000:]}")
        kept.write_text(json.dumps(outcome.results), encoding="utf-8")
    results: Mapping[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return results


def _reference(folder: Path, scope: Scope) -> list[Task]:
    """What quality is measured against, for both backends: the unquantized program here."""
    judged = _quality(folder, bundle_path(folder, "onnx", "fp32"), scope)
    return [{**judged, "name": "record", "kind": "record"}]


def _jobs(
    folder: Path, backend: str, engine: str | None, scope: Scope
) -> Iterator[tuple[str, list[Task]]]:
    fp32, int4 = (bundle_path(folder, backend, recipe) for recipe in ("fp32", "int4"))
    texts = _texts(fp32, scope.prompts)
    each: list[Task] = [{"name": "features", "kind": "features"}]
    for name in (*scope.recipes, TRIMMED):
        path = str(bundle_path(folder, backend, name))
        each.append({"name": f"verify {name}", "kind": "verify", "bundle": path})
        each.append(
            {
                "name": f"generate {name}",
                "kind": "generate",
                "bundle": path,
                "text": TEXT,
                "tokens": 12,
                "threads": 2,
            }
        )
        if name != TRIMMED:
            each.append(
                {**_quality(folder, Path(path), scope), "name": f"quality {name}"},
            )
    past = [token for text in texts for token in text][:_PAST_WINDOW]
    each.append({"name": "sessions", "kind": "sessions", "bundle": str(int4), "ids": past})
    each.append(
        {
            "name": "resume",
            "kind": "resume",
            "bundle": str(fp32),
            "ids": past,
            "file": str(folder / f"{backend}.session"),
            "next": texts[1][1],
            "tokens": 20,
        }
    )
    prompts = [text[:40] for text in texts]
    greedy = {"name": "greedy", "kind": "greedy", "bundle": str(fp32), "prompts": prompts}
    count = {"name": "count", "kind": "count", "bundle": str(int4), "ids": texts[0], "tokens": 4}
    for kind, tasks in (
        ("each", each),
        ("greedy", [{**greedy, "tokens": scope.tokens}]),
        ("count", [count]),
    ):
        yield kind, [{**task, "engine": engine} for task in tasks]


def _quality(folder: Path, bundle: Path, scope: Scope) -> Task:
    return {
        "kind": "quality",
        "bundle": str(bundle),
        "file": str(folder / f"reference-{scope.texts}.npy"),
        "texts": [text[: _FEED + scope.singles] for text in _texts(bundle, scope.texts)],
        "singles": scope.singles,
    }


def _texts(bundle: Path, count: int) -> list[list[int]]:
    """Ids of texts in that many languages, evenly taken from all."""
    tokenizer: Tokenizer = open_bundle(bundle, check_hashes=False).tokenizer
    texts = sorted(evaluation_texts(None).items())
    chosen = [texts[index * len(texts) // count][1] for index in range(count)]
    return [tokenizer.encode(text)[:_PAST_WINDOW] for text in chosen]
