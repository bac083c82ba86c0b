"""One contender, measured once in a fresh process: a Job as JSON in, a Sample as JSON out.

Usage: python -m benchmarks.contender JOB; benchmarks.speed starts it. The order is fixed:
imports, load, first prompt cold (time to first token, then memory), warm-up step, prefill, decode.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.runner import Facts, KvLayer, Runner, find_prepare

_ROLLUP = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One rate to measure, with llama-bench's numbers: prefill of n_prompt, or n_gen steps.

    n_depth: tokens in the cache before the first of the n_gen steps.
    """

    n_prompt: int = 0
    n_gen: int = 0
    n_depth: int = 0

    @property
    def name(self) -> str:
        """As llama-bench writes it."""
        test = f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"
        return test + (f" @ d{self.n_depth}" if self.n_depth else "")

    @property
    def positions(self) -> int:
        """How many the context must hold."""
        return self.n_prompt + self.n_gen + self.n_depth


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to measure; kind: a row of RUNNERS; context: None leaves it to the contender."""

    kind: str
    path: str
    context: int | None
    threads: int
    seed: int
    cases: tuple[Case, ...]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident bytes of a process: all, its share of shared pages, and what it alone wrote."""

    rss_bytes: int
    pss_bytes: int
    private_dirty_bytes: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One round of one contender; rates: test -> tokens/s; skipped: test -> why.

    load_ms: without imports. memory: after the first prompt; memory_before: after imports, before
    loading, so that what Python and an engine's packages take can be told from the model.
    """

    path: str
    facts: Facts
    load_ms: float
    ttft_ms: float
    memory: Memory
    memory_before: Memory
    rates: Mapping[str, float]
    skipped: Mapping[str, str]


def measure(job: Job) -> Sample:
    """Load the contender and measure it; the first case must be a prompt that fits."""
    load = find_prepare(job.kind)(Path(job.path), job.context, job.threads)
    before = read_memory()
    start = perf_counter()
    runner = load()
    load_ms = (perf_counter() - start) * 1000
    facts, rng = runner.facts, np.random.default_rng(job.seed)
    skipped = dict(_too_long(job.cases, facts.context))
    first = job.cases[0]
    if not first.n_prompt or first.name in skipped:
        raise ValueError(f"{job.path}: {first.name} must be a prompt within {facts.context} tokens")
    ttft_ms = _seconds(runner, _ids(rng, facts, first.n_prompt), 0) * 1000
    memory = read_memory()
    runner.feed(_ids(rng, facts, 1), 0)
    rates = {case.name: _rate(runner, case, rng) for case in job.cases if case.name not in skipped}
    return Sample(
        path=job.path,
        facts=facts,
        load_ms=load_ms,
        ttft_ms=ttft_ms,
        memory=memory,
        memory_before=before,
        rates=rates,
        skipped=skipped,
    )


def read_memory() -> Memory:
    """Memory of this process, from Linux's smaps_rollup."""
    rows = dict(line.split(":") for line in _ROLLUP.read_text().splitlines()[1:])
    rss, pss, dirty = (int(rows[key].split()[0]) for key in ("Rss", "Pss", "Private_Dirty"))
    return Memory(rss_bytes=rss * 1024, pss_bytes=pss * 1024, private_dirty_bytes=dirty * 1024)


def read_sample(text: str) -> Sample:
    """The Sample that `main` printed on the last line of `text`."""
    raw = json.loads(text.splitlines()[-1])
    layers = tuple(KvLayer(**layer) for layer in raw["facts"]["layers"])
    facts = Facts(**{**raw["facts"], "layers": layers})
    memories = {key: Memory(**raw[key]) for key in ("memory", "memory_before")}
    return Sample(**{**raw, **memories, "facts": facts})


def _too_long(cases: Sequence[Case], context: int) -> Iterator[tuple[str, str]]:
    for case in cases:
        if case.positions > context:
            yield case.name, f"needs {case.positions} positions, the context is {context}"


def _rate(runner: Runner, case: Case, rng: np.random.Generator) -> float:
    """Tokens a second: of the whole prompt, or of the median step."""
    if case.n_prompt:
        return case.n_prompt / _seconds(runner, _ids(rng, runner.facts, case.n_prompt), 0)
    if case.n_depth:
        runner.feed(_ids(rng, runner.facts, case.n_depth), 0)
    ids = _ids(rng, runner.facts, case.n_gen)
    return 1 / median(_seconds(runner, [id_], case.n_depth + i) for i, id_ in enumerate(ids))


def _seconds(runner: Runner, ids: Sequence[int], position: int) -> float:
    """Seconds from the ids to the likeliest next id."""
    start = perf_counter()
    runner.feed(ids, position).argmax()
    return perf_counter() - start


def _ids(rng: np.random.Generator, facts: Facts, count: int) -> list[int]:
    ids: list[int] = rng.integers(0, facts.vocab_size, count).tolist()
    return ids


def main() -> None:
    """Read a Job from the command line, print a Sample."""
    raw = json.loads(sys.argv[1])
    job = Job(**{**raw, "cases": tuple(Case(**case) for case in raw["cases"])})
    print(json.dumps(asdict(measure(job))))


if __name__ == "__main__":
    main()
