"""Bundles in, what this machine and every emulated board say of them out; boards run at once."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tests import store
from tests.arm.boards import BOARDS, Outcome, run_here, run_on
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.export.proof.kl import kl
from tinyaya.runtime import Tokenizer, open_bundle

# Backend: engine to ask for; None: its only one. The other engine of .pte files needs torch.
ENGINES: Mapping[str, str | None] = {"onnx": None, "executorch": "native"}
TRIMMED = "trimmed"
GREEDY = ("pi4", "pi5")  # boards of the bar on equal tokens
COUNTED = ("pi5", "i8mm")  # boards with integer products for both backends
TEXT = "All human beings are born"
_FED, _SEVERAL = 8, 16  # tokens of a judged text that are not judged, and that are in larger steps
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


QUICK = Scope(recipes=("fp32", "int4"), prompts=4, tokens=40, texts=4, singles=8)
ALL = replace(QUICK, recipes=("fp32", "int8", "int4", "int4-small", "int4-quality"))
THOROUGH = replace(ALL, prompts=40, tokens=100)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """here: by backend, without emulation; there: by board, backend and kind of job.

    recorded: folders of logits, by backend and board, or by backend alone of this machine.
    """

    here: Mapping[str, Mapping[str, Any]]
    there: Mapping[Key, Outcome]
    recorded: Mapping[tuple[str, ...], Path]

    def mean_kl(self, recipe: str, *place: str) -> float:
        """KL in nats to the unquantized program of ONNX Runtime on this machine."""
        reference, rows = (
            np.load(self.recorded[key] / _logits_file(name))
            for key, name in ((("onnx",), "fp32"), (place, recipe))
        )
        return float(kl(reference, rows).mean())


def bundle_path(backend: str, name: str) -> Path:
    """Where the store keeps that bundle: verified, so that boards repeat what was said here."""
    return store.named_folder(f"arm-{backend}-{name}")


def gather(cache: Path, scope: Scope, boards: Collection[str]) -> Facts:
    """Take bundles, run them here, then on boards."""
    names = (*scope.recipes, TRIMMED)
    store.take(*(f"arm-{backend}-{name}" for backend in ENGINES for name in names))
    folder = cache / "results"
    jobs = {backend: _jobs(folder, backend, engine, scope) for backend, engine in ENGINES.items()}
    here, recorded = {}, {}
    for backend, kinds in jobs.items():
        recorded[backend,] = folder / f"here-{backend}"
        here[backend] = _here(recorded[backend,], kinds)
    wanted: list[Key] = [
        (board, backend, kind)
        for kind in ("each", "greedy", "count")  # the longest first
        for board in boards
        for backend in jobs
        if board in {"greedy": GREEDY, "count": COUNTED}.get(kind, BOARDS)
    ]

    def run(key: Key) -> Outcome:
        board, backend, kind = key
        scratch = folder / "-".join(key)
        return run_on(BOARDS[board], cache, jobs[backend][kind], scratch, count=kind == "count")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        there = dict(zip(wanted, pool.map(run, wanted), strict=True))
    for board, backend, kind in wanted:
        if kind == "each":
            recorded[backend, board] = folder / "-".join((board, backend, kind))
    return Facts(here=here, there=there, recorded=recorded)


def _here(scratch: Path, jobs: Mapping[str, Sequence[Task]]) -> Mapping[str, Any]:
    resumed = [task for task in jobs["each"] if task["kind"] == "resume"]
    saves = [{**task, "kind": "save", "name": "save"} for task in resumed]
    outcome = run_here([*saves, *jobs["each"], *jobs["greedy"]], scratch)
    if outcome.died:
        raise RuntimeError(f"{scratch.name}: {outcome.died}\n{outcome.log[-2000:]}")
    return outcome.results


def _logits_file(recipe: str) -> str:
    return f"{recipe}.npy"


def _jobs(folder: Path, backend: str, engine: str | None, scope: Scope) -> Mapping[str, list[Task]]:
    """Kind of job -> its tasks."""
    fp32, int4 = (str(bundle_path(backend, recipe)) for recipe in ("fp32", "int4"))
    texts = _texts(Path(fp32), scope.prompts)
    past = [token for text in texts for token in text][:_PAST_WINDOW]
    saved = {"ids": past, "file": str(folder / f"{backend}.session"), "next": texts[1][1]}
    greedy = {"prompts": [text[:40] for text in texts], "tokens": scope.tokens}
    jobs = {
        "each": [
            {"kind": "features", "name": "features"},
            *_of_recipes(backend, scope),
            {"kind": "sessions", "name": "sessions", "bundle": int4, "ids": past},
            {"kind": "resume", "name": "resume", "bundle": fp32, **saved, "tokens": 20},
        ],
        "greedy": [{"kind": "greedy", "name": "greedy", "bundle": fp32, **greedy}],
        "count": [{"kind": "count", "name": "count", "bundle": int4, "ids": texts[0], "tokens": 4}],
    }
    return {kind: [{**task, "engine": engine} for task in tasks] for kind, tasks in jobs.items()}


def _of_recipes(backend: str, scope: Scope) -> Iterator[Task]:
    said = {"text": TEXT, "tokens": 12, "threads": 2}
    for name in (*scope.recipes, TRIMMED):
        path = bundle_path(backend, name)
        yield {"kind": "verify", "name": f"verify {name}", "bundle": str(path)}
        yield {"kind": "generate", "name": f"generate {name}", "bundle": str(path), **said}
        if name != TRIMMED:
            yield _record(name, path, scope)


def _record(recipe: str, bundle: Path, scope: Scope) -> Task:
    length = _FED + _SEVERAL + scope.singles
    return {
        "name": f"record {recipe}",
        "kind": "record",
        "bundle": str(bundle),
        "file": _logits_file(recipe),
        "texts": [text[:length] for text in _texts(bundle, scope.texts)],
        "fed": _FED,
        "singles": scope.singles,
    }


def _texts(bundle: Path, count: int) -> list[list[int]]:
    """Ids of texts in that many languages, evenly taken from all."""
    tokenizer: Tokenizer = open_bundle(bundle, check_hashes=False).tokenizer
    texts = sorted(evaluation_texts(None).items())
    chosen = [texts[index * len(texts) // count][1] for index in range(count)]
    return [tokenizer.encode(text)[:_PAST_WINDOW] for text in chosen]
