"""Holds what a person asks of the speed benchmark, and plans the jobs of every round."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from tinyaya.benchmarks.speed.contender import Case, Job
from tinyaya.runtime import read_manifest

LONG_PROMPT = 1000  # tokens; longer ones take most of a round
MOST_COOLDOWN_S = 600


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """What to compare, and how; the context of peers is the largest of the bundles'.

    long_rounds: how many rounds, the first ones, also measure prompts beyond LONG_PROMPT. cpus: to
    run on, none: all. cooldown_s: rest between two processes. engine: of the bundles, as in `Job`.
    """

    bundles: tuple[Path, ...]
    peers: tuple[Path, ...]
    prompts: tuple[int, ...]
    contexts: tuple[int, ...]
    threads: tuple[int, ...]
    rounds: int
    long_rounds: int
    tokens: int
    seed: int
    cpus: tuple[int, ...] = ()
    cooldown_s: float = 0.0
    engine: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        paths = [*self.bundles, *self.peers]
        if not self.bundles or len(set(paths)) < len(paths):
            raise ValueError("expected at least one bundle, and each contender once")
        if not self.prompts or not self.threads:
            raise ValueError("expected at least one prompt length and one number of threads")
        if min(*self.prompts, *self.threads, self.rounds, self.long_rounds, self.tokens) < 1:
            raise ValueError("prompts, threads, rounds and tokens must be at least 1")
        if min(self.contexts, default=0) < 0:
            raise ValueError("contexts must be at least 0")
        if not 0 <= self.cooldown_s <= MOST_COOLDOWN_S:
            raise ValueError(f"expected a cool-down from 0 to {MOST_COOLDOWN_S} seconds")
        if self.prompts[0] > LONG_PROMPT:
            raise ValueError(f"every round begins with the first prompt; at most {LONG_PROMPT}")

    @property
    def cases(self) -> tuple[Case, ...]:
        """Prompts first: the first of them also gives the time to first token."""
        return (
            *(Case(n_prompt=count) for count in dict.fromkeys(self.prompts)),
            *(Case(n_gen=self.tokens, n_depth=depth) for depth in dict.fromkeys(self.contexts)),
        )

    @property
    def keys(self) -> tuple[tuple[str, int], ...]:
        """Path and threads of every contender; bundles first."""
        paths = (*self.bundles, *self.peers)
        return tuple((str(path), count) for count in dict.fromkeys(self.threads) for path in paths)

    def schedule(self, states: Path) -> list[list[Job]]:
        """Each round's jobs in the order to run them, which the seed alone decides."""
        context = max(read_manifest(folder).limits.context for folder in self.bundles)
        peers = {str(path) for path in self.peers}
        jobs = [
            Job(
                kind="llama.cpp" if path in peers else "bundle",
                path=path,
                context=context if path in peers else None,
                threads=threads,
                seed=self.seed,
                cases=self.cases,
                states=str(states),
                cpus=self.cpus,
                cooldown_s=self.cooldown_s,
                engine=None if path in peers else self.engine,
            )
            for path, threads in self.keys
        ]
        orders = shuffled(jobs, self.rounds, self.seed)
        return [
            order if number < self.long_rounds else [_without_long(job) for job in order]
            for number, order in enumerate(orders)
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values, equal after JSON has been written and read."""
        raw = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return raw | {name: [str(path) for path in raw[name]] for name in ("bundles", "peers")}


def parse_options(raw: dict[str, Any]) -> SpeedOptions:
    """The SpeedOptions that `as_json` made `raw` of."""
    lists = {name: tuple(value) for name, value in raw.items() if isinstance(value, list)}
    paths = {name: tuple(map(Path, lists[name])) for name in ("bundles", "peers")}
    return SpeedOptions(**{**raw, **lists, **paths})


def numbers(text: str) -> tuple[int, ...]:
    """The whole numbers of a text such as 128,512; raises ValueError."""
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise ValueError(f"{text!r}; expected whole numbers with commas") from error


def shuffled(jobs: Sequence[Job], rounds: int, seed: int) -> list[list[Job]]:
    """All jobs in every round, each round in its own order."""
    random = Random(seed)
    return [random.sample(jobs, len(jobs)) for _ in range(rounds)]


def _without_long(job: Job) -> Job:
    return replace(job, cases=tuple(case for case in job.cases if case.n_prompt <= LONG_PROMPT))
