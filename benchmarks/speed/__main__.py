"""Measures the speed and memory of bundles and of peers' files side by side.

As `tinyaya-export bench`, whose rounds these are, and against files of other programs.
Usage: python -m tinyaya.benchmarks.speed --bundle DIR [--peer GGUF] --out results.json
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tinyaya.benchmarks.speed.any_file import read_results
from tinyaya.benchmarks.speed.conditions.topology import choose_cpus
from tinyaya.benchmarks.speed.measure import Keeping, begin, measure_speed
from tinyaya.benchmarks.speed.options import SpeedOptions, numbers
from tinyaya.benchmarks.speed.places.local import Here
from tinyaya.benchmarks.speed.tables import plot_results, print_files, print_memory
from tinyaya.export.system.progress_bar import shown_progress
from tinyaya.runtime.errors import TinyAyaError


def speed(  # noqa: PLR0913  one argument an option
    bundle: Annotated[list[Path], typer.Option(metavar="DIR", help="Bundle; repeatable.")],
    out: Annotated[Path, typer.Option(metavar="JSON", help="Where the results go.")],
    peer: Annotated[list[Path] | None, typer.Option(metavar="GGUF", help="Peer; repeat.")] = None,
    prompts: Annotated[str, typer.Option(help="Prompt lengths, tokens.")] = "128,512",
    contexts: Annotated[str, typer.Option(help="Tokens in the cache at decode.")] = "128,4000",
    threads: Annotated[str, typer.Option(help="CPU threads; each is measured.")] = "2",
    cores: Annotated[str, typer.Option(help="big, all, or numbers such as 4-7.")] = "all",
    rounds: Annotated[int, typer.Option(help="Times that each is measured.")] = 5,
    long_rounds: Annotated[
        int | None, typer.Option(help="Rounds with prompts over 1000.", show_default="all")
    ] = None,
    cooldown: Annotated[float, typer.Option(help="Seconds of rest between two.")] = 0.0,
    tokens: Annotated[int, typer.Option(help="Steps timed at each depth.")] = 16,
    seed: Annotated[int, typer.Option(help="Of ids and of the order.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out, if any.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace --out.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw bars.")] = None,
) -> None:
    """Compare the speed and memory of bundles and of llama.cpp on GGUF files.

    Example: python -m tinyaya.benchmarks.speed --bundle aya/onnx --peer q4_0.gguf --out run.json
    """
    place = Here()
    try:
        machine = place.describe()
        options = SpeedOptions(
            bundles=tuple(bundle),
            peers=tuple(peer or ()),
            prompts=numbers(prompts),
            contexts=numbers(contexts),
            threads=numbers(threads),
            rounds=rounds,
            long_rounds=rounds if long_rounds is None else long_rounds,
            tokens=tokens,
            seed=seed,
            cpus=choose_cpus(machine.clusters, cores),
            cooldown_s=cooldown,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        with shown_progress() as progress:
            progress.stage("read bandwidth")
            started = begin(place, machine, options, Keeping(out=out, resumed=resume, force=force))
            measured = measure_speed(started, out, progress, place.run)
    except TinyAyaError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    results = read_results(out)
    print_files([results])
    print_memory(results)
    if plot:
        plot_results(measured, plot)


if __name__ == "__main__":
    typer.run(speed)
