"""Bundles and peers' files in; their speed and memory, measured side by side, out.

Every measurement is a fresh process. A round measures each contender once with each number of
threads, in an order that a seed shuffles; rounds follow each other, so that a slow minute of the
machine strikes all alike. Results are written after every process.
Usage: python -m benchmarks.speed --bundle DIR [--peer GGUF] --out results.json
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.charts import plot_results, print_results, short_name
from benchmarks.contender import Job, Sample, read_sample
from benchmarks.machine import describe_machine
from benchmarks.options import SpeedOptions
from benchmarks.store import Measured, StoreError, continued, save
from export.progress import Progress
from export.terminal import shown_progress
from runtime import RunError


class ContenderError(Exception):
    """A contender's process failed; the message holds the last line that it wrote to stderr."""


def run_job(job: Job) -> Sample:
    """Measure in a fresh process; raises ContenderError if it fails."""
    command = [sys.executable, "-m", "benchmarks.contender", json.dumps(asdict(job))]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise ContenderError(f"{job.path} failed ({process.returncode}): {last}")
    return read_sample(process.stdout)


def measure_speed(
    measured: Measured, out: Path, progress: Progress, run: Callable[[Job], Sample] = run_job
) -> Measured:
    """Measure in interleaved rounds what `measured` lacks, writing all to `out` after each job."""
    states = out.with_suffix(".states")  # also for a run that resumes this one
    rounds = measured.options.schedule(states)
    jobs = [(number, job) for number, order in enumerate(rounds, start=1) for job in order]
    for number, job in jobs[len(measured.samples) :]:
        progress.stage(
            f"round {number}/{len(rounds)} {short_name(job.path)}, {job.threads} threads"
        )
        measured = measured.plus(run(job))
        save(measured, out)
    if states.exists():
        shutil.rmtree(states)
    return measured


def _begin(options: SpeedOptions, out: Path, *, resumed: bool) -> Measured:
    if resumed and out.exists():
        return continued(out, options, describe_machine(()))
    states = out.with_suffix(".states")
    if states.exists():
        shutil.rmtree(states)
    return Measured(options=options, machine=describe_machine(options.threads))


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
    threads: Annotated[str, typer.Option(help="CPU threads; each is measured.")] = "2",
    rounds: Annotated[int, typer.Option(help="Times that each is measured.")] = 5,
    long_rounds: Annotated[
        int | None, typer.Option(help="Rounds with prompts over 1000.", show_default="all")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Steps timed at each depth.")] = 16,
    seed: Annotated[int, typer.Option(help="Of ids and of the order.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out, if any.")] = False,
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
            threads=_numbers(threads),
            rounds=rounds,
            long_rounds=rounds if long_rounds is None else long_rounds,
            tokens=tokens,
            seed=seed,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        with shown_progress() as progress:
            progress.stage("read bandwidth")
            measured = measure_speed(_begin(options, out, resumed=resume), out, progress)
    except (ContenderError, StoreError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    print_results(measured)
    if plot:
        plot_results(measured, plot)


if __name__ == "__main__":
    typer.run(speed)
