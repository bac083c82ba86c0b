"""Runs `bench`: measures bundles here, on a board or on a phone, and compares machines."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyaya.export.cli.options import EngineName, Json, check_files, print_json
from tinyaya.export.errors import MissingExtraError
from tinyaya.runtime.errors import BenchError

if TYPE_CHECKING:
    from tinyaya.benchmarks.speed.run import BenchRequest

_Paths = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Bundle folders; with --compare, results.")
]
_Host = Annotated[
    str | None,
    typer.Option(metavar="USER@HOST", help="Copy all there by ssh and rsync, and measure there."),
]


def bench(
    paths: _Paths,
    host: _Host = None,
    adb: Annotated[bool, typer.Option("--adb", help="On the phone that adb sees.")] = False,
    prompts: Annotated[str, typer.Option(help="Lengths of prompts to read.")] = "128,512",
    contexts: Annotated[
        str, typer.Option("--contexts", "--depths", help="Contexts after which to write.")
    ] = "128,2000",
    tokens: Annotated[int, typer.Option("--tokens", "--decode", help="Tokens to write.")] = 64,
    threads: Annotated[
        str | None, typer.Option(help="CPU threads; each is measured.", show_default="one a core")
    ] = None,
    cores: Annotated[str, typer.Option(help="big, all, or numbers such as 4-7.")] = "big",
    rounds: Annotated[int, typer.Option(help="Of all of them, in changing order.")] = 5,
    cooldown: Annotated[float, typer.Option(help="Seconds between two, longer while hot.")] = 10,
    seed: Annotated[int, typer.Option(help="Of ids and of the order.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Results, round by round.")] = Path(
        "bench.json"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out, if any.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace --out.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Measure nothing; compare results.")
    ] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a table.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw bars.")] = None,
    ssh: Annotated[str, typer.Option(help="With --host: the program, with options.")] = "ssh",
    python: Annotated[
        str | None, typer.Option(help="With --host: there.", show_default="one that is made")
    ] = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Measure how fast bundles run, here, on a board or on a phone; compare machines.

    Example: tinyaya-export bench aya/onnx --host user@pi --out pi.json
    Example: tinyaya-export bench --compare pi.json phone.json --html speed.html
    """
    from tinyaya.benchmarks.speed.places.host import HostOptions
    from tinyaya.benchmarks.speed.run import BenchRequest

    if sum((adb, compare, host is not None)) > 1 or (plot and (adb or compare)):
        raise BenchError(
            "--adb, --host and --compare exclude each other, and --plot is of what this machine or "
            "a host measures; leave out all but one"
        )
    check_files(None if compare else out, html, csv, plot)
    _check_plot(plot)
    if compare:
        return _write(paths, html, csv, as_json=as_json)
    request = BenchRequest(
        bundles=tuple(paths),
        prompts=prompts,
        contexts=contexts,
        tokens=tokens,
        threads=threads,
        cores=cores,
        rounds=rounds,
        cooldown_s=cooldown,
        seed=seed,
        host=HostOptions(address=host, ssh=ssh, python=python, engine=engine) if host else None,
        engine=engine,
    )
    if adb and engine:
        raise BenchError("the app has its own engine; leave out --engine")
    if adb:
        _measure_phone(request, out)
    else:
        _measure(request, out, plot, resume=resume, force=force)
    return _write([out], html, csv, as_json=as_json)


def _measure(
    request: "BenchRequest", out: Path, plot: Path | None, *, resume: bool, force: bool
) -> None:
    from tinyaya.benchmarks.speed.measure import Keeping
    from tinyaya.benchmarks.speed.run import run_bench
    from tinyaya.benchmarks.speed.tables import plot_results
    from tinyaya.export.system.progress_bar import shown_progress

    with shown_progress() as progress:
        keeping = Keeping(out=out, resumed=resume, force=force)
        measured = run_bench(request, keeping, progress)
    if plot:
        plot_results(measured, plot)


def _measure_phone(request: "BenchRequest", out: Path) -> None:
    from tinyaya.benchmarks.speed.places.adb import PhoneBenchOptions, bench_on_phone
    from tinyaya.benchmarks.speed.places.phone import phone_results
    from tinyaya.runtime.errors import AdbError
    from tinyaya.runtime.whole_file import write_whole

    if len(request.bundles) != 1:
        raise AdbError("the app measures one bundle at a time; expected one")
    bundle = request.bundles[0]
    options = PhoneBenchOptions(
        prompts=request.prompts,
        depths=request.contexts,
        decode=request.tokens,
        rounds=request.rounds,
        cooldown=round(request.cooldown_s),
        seed=request.seed,
    )
    report = phone_results(bench_on_phone(bundle, options), bundle)
    write_whole(out, json.dumps(report, indent=1) + "\n")


def _write(paths: list[Path], html: Path | None, csv: Path | None, *, as_json: bool) -> None:
    """Read results again, as anybody would, and show them."""
    from tinyaya.benchmarks.speed.any_file import read_results, write_csv
    from tinyaya.benchmarks.speed.page import write_comparison
    from tinyaya.benchmarks.speed.tables import print_files

    found = [read_results(path) for path in paths]
    if html:
        write_comparison(html, found)
    if csv:
        write_csv(csv, found)
    if as_json:
        print_json([json.loads(path.read_text(encoding="utf-8")) for path in paths])
    else:
        print_files(found)


def _check_plot(plot: Path | None) -> None:
    if plot and not find_spec("matplotlib"):
        raise MissingExtraError(
            "--plot needs the package matplotlib; pip install 'tinyaya-export[export]', or use "
            "--html, which needs nothing"
        )
