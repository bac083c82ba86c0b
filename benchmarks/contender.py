"""One contender, measured once in a fresh process: a Job as JSON in, a Sample as JSON out.

Usage: python -m benchmarks.contender JOB; benchmarks.speed starts it. The order is fixed:
imports, load, first prompt cold (time to first token), a short answer (then memory), prefill,
decode at each depth.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.memory import Memory, populate_memory, read_memory
from benchmarks.runner import Facts, KvLayer, Loading, Runner, find_prepare

ANSWER_TOKENS = 64  # generated before memory is read


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
    """What to measure; kind: a row of RUNNERS; context: None leaves it to the contender.

    states: folder that later jobs on the same file find too; see `Loading`.
    """

    kind: str
    path: str
    context: int | None
    threads: int
    seed: int
    cases: tuple[Case, ...]
    states: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One round of one contender; rates: test -> tokens/s; skipped: test -> why.

    load_ms: without imports. memory: after the first prompt and ANSWER_TOKENS steps;
    memory_before: after imports, before loading, so that what Python and an engine's packages take
    can be told from the model.
    """

    path: str
    threads: int
    facts: Facts
    load_ms: float
    ttft_ms: float
    memory: Memory
    memory_before: Memory
    rates: Mapping[str, float]
    skipped: Mapping[str, str]


def measure(job: Job) -> Sample:
    """Load the contender and measure it; the first case must be a prompt that fits."""
    states = Path(job.states) if job.states else None
    loading = Loading(path=Path(job.path), context=job.context, threads=job.threads, states=states)
    load = find_prepare(job.kind)(loading)
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
    for position in range(first.n_prompt, min(first.n_prompt + ANSWER_TOKENS, facts.context)):
        runner.feed(_ids(rng, facts, 1), position)
    memory = read_memory()
    cases = [case for case in job.cases if case.name not in skipped]
    return Sample(
        path=job.path,
        threads=job.threads,
        facts=facts,
        load_ms=load_ms,
        ttft_ms=ttft_ms,
        memory=memory,
        memory_before=before,
        rates=_rates(runner, cases, rng),
        skipped=skipped,
    )


def read_sample(text: str) -> Sample:
    """The Sample that `main` printed on the last line of `text`."""
    return parse_sample(json.loads(text.splitlines()[-1]))


def parse_sample(raw: Mapping[str, Any]) -> Sample:
    """The Sample that `asdict` and JSON made `raw` of."""
    layers = tuple(KvLayer(**layer) for layer in raw["facts"]["layers"])
    facts = Facts(**{**raw["facts"], "layers": layers})
    memories = {key: Memory(**raw[key]) for key in ("memory", "memory_before")}
    return Sample(**{**raw, **memories, "facts": facts})


def _too_long(cases: Sequence[Case], context: int) -> Iterator[tuple[str, str]]:
    for case in cases:
        if case.positions > context:
            yield case.name, f"needs {case.positions} positions, the context is {context}"


def _rates(runner: Runner, cases: Sequence[Case], rng: np.random.Generator) -> dict[str, float]:
    """Test -> tokens/s; all prompts before the first decode, so that no cache is full for them."""
    context = _ids(rng, runner.facts, max((case.n_depth for case in cases), default=0))
    prompts = [case for case in cases if case.n_prompt]
    rates = {case.name: _prefill_rate(runner, case.n_prompt, rng) for case in prompts}
    populate_memory()
    for case in cases:
        if not case.n_prompt:
            rates[case.name] = _decode_rate(runner, context[: case.n_depth], case.n_gen, rng)
    return rates


def _prefill_rate(runner: Runner, length: int, rng: np.random.Generator) -> float:
    return length / _seconds(runner, _ids(rng, runner.facts, length), 0)


def _decode_rate(
    runner: Runner, context: Sequence[int], steps: int, rng: np.random.Generator
) -> float:
    """Tokens a second of the median step, so that a slow first one does not count."""
    if context:
        runner.jump(context)
    ids = _ids(rng, runner.facts, steps)
    return 1 / median(_seconds(runner, [id_], len(context) + i) for i, id_ in enumerate(ids))


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
