"""Measures one contender once in a fresh process: a Job as JSON in, a Sample as JSON out.

Usage: python -m tinyaya.benchmarks.speed.contender JOB; `places.local` starts it. The order is
fixed: imports, load, first prompt cold (time to first token), a short answer (then memory),
prefill, decode at each depth. The first prompt, the answer and WARM_STEPS before each decode warm
it up.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from tinyaya.benchmarks.speed.conditions.memory import Memory, populate_memory, read_memory
from tinyaya.benchmarks.speed.conditions.watch import Conditions, Span, parse_conditions
from tinyaya.benchmarks.speed.runner import Loading, Runner
from tinyaya.benchmarks.speed.runners import find_prepare
from tinyaya.runtime.facts import Facts, KvLayer

ANSWER_TOKENS = 64  # generated before memory is read
WARM_STEPS = 2  # of each decode, not timed


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
        warm = WARM_STEPS if self.n_gen else 0
        return self.n_prompt + self.n_gen + self.n_depth + warm


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to measure; kind: a row of RUNNERS; context: None leaves it to the contender.

    states: folder that later jobs on the same file find too; see `Loading`. cpus: to run on, none:
    all. cooldown_s: rest before it, and longer, while the processor is hotter than cool_celsius.
    engine: as in `Loading`.
    """

    kind: str
    path: str
    context: int | None
    threads: int
    seed: int
    cases: tuple[Case, ...]
    states: str | None = None
    cpus: tuple[int, ...] = ()
    cooldown_s: float = 0.0
    cool_celsius: float | None = None
    engine: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One round of one contender; rates: test -> tokens/s; skipped: test -> why.

    load_ms: without imports. memory: after the first prompt and ANSWER_TOKENS steps;
    memory_before: after imports, before loading, so that what Python and an engine's packages take
    can be told from the model. spans: when each test ran. started: date and time in UTC.
    conditions: what the machine was like meanwhile; None where nobody watched it.
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
    spans: Mapping[str, Span] = field(default_factory=dict)
    started: str = ""
    conditions: Conditions | None = None


def measure(job: Job) -> Sample:
    """Load the contender and measure it; the first case must be a prompt that fits."""
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    load = find_prepare(job.kind)(_loading(job))
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
    timed = _timed(runner, cases, rng)
    return Sample(
        path=job.path,
        threads=job.threads,
        facts=facts,
        load_ms=load_ms,
        ttft_ms=ttft_ms,
        memory=memory,
        memory_before=before,
        rates={name: rate for name, (rate, _) in timed.items()},
        skipped=skipped,
        spans={name: span for name, (_, span) in timed.items()},
        started=started,
    )


def read_sample(text: str) -> Sample:
    """The Sample that `main` printed on the last line of `text`."""
    return parse_sample(json.loads(text.splitlines()[-1]))


def parse_sample(raw: Mapping[str, Any]) -> Sample:
    """The Sample that `asdict` and JSON made `raw` of."""
    layers = tuple(KvLayer(**layer) for layer in raw["facts"]["layers"])
    facts = Facts(**{**raw["facts"], "layers": layers})
    memories = {key: Memory(**raw[key]) for key in ("memory", "memory_before")}
    spans = {name: Span(**span) for name, span in raw["spans"].items()}
    conditions = parse_conditions(raw["conditions"])
    parsed = {"facts": facts, "spans": spans, "conditions": conditions}
    return Sample(**{**raw, **memories, **parsed})


def parse_job(raw: Mapping[str, Any]) -> Job:
    """The Job that `asdict` and JSON made `raw` of."""
    cases = tuple(Case(**case) for case in raw["cases"])
    return Job(**{**raw, "cases": cases, "cpus": tuple(raw["cpus"])})


def _loading(job: Job) -> Loading:
    return Loading(
        path=Path(job.path),
        context=job.context,
        threads=job.threads,
        states=Path(job.states) if job.states else None,
        engine=job.engine,
    )


def _too_long(cases: Sequence[Case], context: int) -> Iterator[tuple[str, str]]:
    for case in cases:
        if case.positions > context:
            yield case.name, f"needs {case.positions} positions, the context is {context}"


_Timed = tuple[float, Span]  # tokens a second, and when


def _timed(runner: Runner, cases: Sequence[Case], rng: np.random.Generator) -> dict[str, _Timed]:
    """By test; all prompts before the first decode, so that no cache is full for them."""
    context = _ids(rng, runner.facts, max((case.n_depth for case in cases), default=0))
    prompts = [case for case in cases if case.n_prompt]
    timed = {case.name: _prefill(runner, case.n_prompt, rng) for case in prompts}
    go_to = runner.jump if populate_memory() else lambda ids: runner.feed(ids, 0)
    for case in cases:
        if not case.n_prompt:
            if case.n_depth:
                go_to(context[: case.n_depth])
            timed[case.name] = _decode(runner, case, rng)
    return timed


def _prefill(runner: Runner, length: int, rng: np.random.Generator) -> _Timed:
    ids, start = _ids(rng, runner.facts, length), monotonic()
    rate = length / _seconds(runner, ids, 0)
    return rate, Span(start_s=start, end_s=monotonic(), tokens=length)


def _decode(runner: Runner, case: Case, rng: np.random.Generator) -> _Timed:
    """Tokens a second of the median step, so that a single slow one does not count."""
    ids = _ids(rng, runner.facts, WARM_STEPS + case.n_gen)
    for index, token in enumerate(ids[:WARM_STEPS]):
        runner.feed([token], case.n_depth + index)
    start = monotonic()
    steps = [
        _seconds(runner, [token], case.n_depth + WARM_STEPS + index)
        for index, token in enumerate(ids[WARM_STEPS:])
    ]
    return 1 / median(steps), Span(start_s=start, end_s=monotonic(), tokens=case.n_gen)


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
    print(json.dumps(asdict(measure(parse_job(json.loads(sys.argv[1]))))))


if __name__ == "__main__":
    main()
