"""Runs `tinyaya-export bench`, here or where ssh leads."""

from dataclasses import dataclass
from pathlib import Path

from tinyaya.benchmarks.speed.conditions.topology import choose_cpus, core_count
from tinyaya.benchmarks.speed.measure import Keeping, begin, measure_speed
from tinyaya.benchmarks.speed.options import SpeedOptions, numbers
from tinyaya.benchmarks.speed.places.host import Host, HostOptions
from tinyaya.benchmarks.speed.places.local import Here, Place
from tinyaya.benchmarks.speed.run_file import Measured
from tinyaya.runtime import read_manifest
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """Options as a person writes them; threads: None is one a core. host: None measures here.

    engine: of the bundles; None: the default of each one's kind.
    """

    bundles: tuple[Path, ...]
    prompts: str
    contexts: str
    tokens: int
    threads: str | None
    cores: str
    rounds: int
    cooldown_s: float
    seed: int
    host: HostOptions | None = None
    engine: str | None = None


def run_bench(request: BenchRequest, keeping: Keeping, progress: Progress) -> Measured:
    """Measure all bundles; raises BenchError, OptionError and RunError."""
    for bundle in request.bundles:
        read_manifest(bundle)
    _options(request, (), (1,))  # refused before gigabytes are copied
    place: Place = Here()
    if request.host:
        place = host = Host(request.host)
        host.prepare(request.bundles, progress)
    progress.stage("machine and its read bandwidth")
    machine = place.describe()
    cpus = choose_cpus(machine.clusters, request.cores)
    options = _options(request, cpus, (core_count(machine.clusters, cpus),))
    started = begin(place, machine, options, keeping)
    return measure_speed(started, keeping.out, progress, place.run)


def _options(
    request: BenchRequest, cpus: tuple[int, ...], default_threads: tuple[int, ...]
) -> SpeedOptions:
    try:
        return SpeedOptions(
            bundles=request.bundles,
            peers=(),
            prompts=numbers(request.prompts),
            contexts=numbers(request.contexts),
            threads=numbers(request.threads) if request.threads else default_threads,
            rounds=request.rounds,
            long_rounds=request.rounds,
            tokens=request.tokens,
            seed=request.seed,
            cpus=cpus,
            cooldown_s=request.cooldown_s,
            engine=request.engine,
        )
    except ValueError as error:
        raise OptionError(str(error)) from error
