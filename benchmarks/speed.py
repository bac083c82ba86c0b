"""Bundles and peers' files in; their speed and memory, measured side by side, out.

Every measurement is a fresh process. A round measures each contender once, in an order that a seed
shuffles; rounds follow each other, so that a slow minute of the machine strikes all alike.
Usage: python -m benchmarks.speed --bundle DIR [--peer GGUF] --out results.json
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from benchmarks.charts import plot_results, print_results, short_name
from benchmarks.contender import Case, Job, Sample, read_sample
from benchmarks.machine import Machine, describe_machine
from benchmarks.results import ContenderRow, Row, Settings, contender_rows, rows
from export.progress import Progress
from export.terminal import shown_progress
from runtime import RunError, read_manifest


class ContenderError(Exception):
    """A contender's process failed; the message holds the last line that it wrote to stderr."""


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """What to compare, and how; the context of peers is the largest of the bundles'."""

    bundles: tuple[Path, ...]
    peers: tuple[Path, ...]
    prompts: tuple[int, ...]
    contexts: tuple[int, ...]
    threads: int
    rounds: int
    tokens: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        paths = [*self.bundles, *self.peers]
        if not self.bundles or len(set(paths)) < len(paths):
            raise ValueError("expected at least one bundle, and each contender once")
        if not self.prompts or min(*self.prompts, self.threads, self.rounds, self.tokens) < 1:
            raise ValueError("prompts, threads, rounds and tokens must be at least 1")
        if min(self.contexts, default=0) < 0:
            raise ValueError("contexts must be at least 0")

    @property
    def cases(self) -> tuple[Case, ...]:
        """Prompts first: the first of them also gives the time to first token."""
        return (
            *(Case(n_prompt=count) for count in dict.fromkeys(self.prompts)),
            *(Case(n_gen=self.tokens, n_depth=depth) for depth in dict.fromkeys(self.contexts)),
        )

    def jobs(self) -> tuple[Job, ...]:
        """One a contender; bundles first."""
        context = max(read_manifest(folder).limits.context for folder in self.bundles)
        kinds = [("bundle", path) for path in self.bundles]
        kinds += [("llama.cpp", path) for path in self.peers]
        return tuple(
            Job(
                kind=kind,
                path=str(path),
                context=context if kind != "bundle" else None,
                threads=self.threads,
                seed=self.seed,
                cases=self.cases,
            )
            for kind, path in kinds
        )


@dataclass(frozen=True, kw_only=True)
class SpeedResult:
    """All that was measured; skipped: path -> test -> why."""

    machine: Machine
    contenders: Sequence[ContenderRow]
    skipped: Mapping[str, Mapping[str, str]]
    results: Sequence[Row]


def schedule(jobs: Sequence[Job], rounds: int, seed: int) -> list[list[Job]]:
    """Each round's jobs in the order to run them; all of them in every round."""
    random = Random(seed)
    return [random.sample(jobs, len(jobs)) for _ in range(rounds)]


def run_job(job: Job) -> Sample:
    """Measure in a fresh process; raises ContenderError if it fails."""
    command = [sys.executable, "-m", "benchmarks.contender", json.dumps(asdict(job))]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise ContenderError(f"{job.path} failed ({process.returncode}): {last}")
    return read_sample(process.stdout)


def measure_speed(
    options: SpeedOptions,
    machine: Machine,
    progress: Progress,
    run: Callable[[Job], Sample] = run_job,
) -> SpeedResult:
    """Measure all contenders in interleaved rounds; machine: described before, when it is idle."""
    jobs = options.jobs()
    samples: dict[str, list[Sample]] = {job.path: [] for job in jobs}
    for number, order in enumerate(schedule(jobs, options.rounds, options.seed), start=1):
        for job in order:
            progress.stage(f"round {number}/{options.rounds} {short_name(job.path)}")
            samples[job.path].append(run(job))
    settings = Settings(
        cases=options.cases,
        threads=options.threads,
        peer=str(options.peers[0]) if options.peers else None,
        bandwidth_bytes_per_s=machine.read_bytes_per_s,
    )
    return SpeedResult(
        machine=machine,
        contenders=contender_rows(samples),
        skipped={path: rounds[0].skipped for path, rounds in samples.items() if rounds[0].skipped},
        results=rows(samples, settings),
    )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}; expected whole numbers with commas") from error


def speed(  # noqa: PLR0913  one argument an option
    bundle: Annotated[list[Path], typer.Option(metavar="DIR", help="Bundle; repeatable.")],
    out: Annotated[Path, typer.Option(metavar="JSON", help="Where the results go.")],
    peer: Annotated[list[Path] | None, typer.Option(metavar="GGUF", help="Peer; repeat.")] = None,
    prompts: Annotated[str, typer.Option(help="Prompt lengths, tokens.")] = "128,512",
    contexts: Annotated[str, typer.Option(help="Tokens in the cache at decode.")] = "128,4000",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="Times that each is measured.")] = 5,
    tokens: Annotated[int, typer.Option(help="Steps timed at each depth.")] = 16,
    seed: Annotated[int, typer.Option(help="Of ids and of the order.")] = 0,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw bars.")] = None,
) -> None:
    """Compare the speed and memory of bundles and of llama.cpp on GGUF files.

    Example: python -m benchmarks.speed --bundle aya/onnx --peer q4_0.gguf --out results.json
    """
    try:
        options = SpeedOptions(
            bundles=tuple(bundle),
            peers=tuple(peer or ()),
            prompts=_numbers(prompts),
            contexts=_numbers(contexts),
            threads=threads,
            rounds=rounds,
            tokens=tokens,
            seed=seed,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        with shown_progress() as progress:
            progress.stage("read bandwidth")
            result = measure_speed(options, describe_machine(threads), progress)
    except (ContenderError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    out.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    print_results(result.machine, result.contenders, result.results, result.skipped)
    if plot:
        plot_results(result.results, plot)


if __name__ == "__main__":
    typer.run(speed)
