"""Measures all contenders in rounds, and keeps each result as it comes.

Every measurement is a fresh process. A round measures each contender once with each number of
threads, in an order that a seed shuffles; rounds follow each other, so that a slow minute of the
machine strikes all alike. Results are written after every process.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tinyaya.benchmarks.speed.any_file import read_run
from tinyaya.benchmarks.speed.conditions.machine import Machine
from tinyaya.benchmarks.speed.contender import Job, Sample
from tinyaya.benchmarks.speed.options import SpeedOptions
from tinyaya.benchmarks.speed.places.local import Place
from tinyaya.benchmarks.speed.rows import short_name
from tinyaya.benchmarks.speed.run_file import Measured, StoreError, save
from tinyaya.export.languages.densities import read_densities
from tinyaya.runtime.errors import BenchError
from tinyaya.runtime.progress import Progress

_MACHINE_IDENTITY = ("name", "cpu", "cores", "memory_bytes", "system", "versions", "clusters")
_MAX_CELSIUS_ABOVE_IDLE = 5.0  # of a processor when the next process begins


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Where results go; resumed: go on with what is there. force: begin anew, whatever is there."""

    out: Path
    resumed: bool = False
    force: bool = False


def begin(place: Place, machine: Machine, options: SpeedOptions, keeping: Keeping) -> Measured:
    """A run with nothing measured yet, or the one to go on with; raises BenchError."""
    out = keeping.out
    if machine.emulated:
        raise BenchError(
            f"{machine.cpu} is emulated here, and an emulator's speed is no board's; "
            "measure on the board itself, such as with --host"
        )
    if keeping.resumed and out.exists():
        return continued(out, options, machine)
    if out.exists() and not keeping.force:
        raise StoreError(f"{out} exists; --resume goes on with it, --force begins anew")
    if not out.absolute().parent.is_dir():
        raise StoreError(f"{out.parent} is no folder; expected one for {out.name}")
    if (states := out.with_suffix(".states")).exists():
        shutil.rmtree(states)
    bandwidths = place.bandwidths(options.threads, options.cpus)
    return Measured(
        options=options,
        machine=replace(machine, bandwidths=bandwidths),
        densities={str(bundle): read_densities(bundle) for bundle in options.bundles},
    )


def continued(path: Path, options: SpeedOptions, machine: Machine) -> Measured:
    """What was measured so far, if with the same options on the same machine; else StoreError.

    Bandwidths and the temperature at rest are those of when the run began.
    """
    found = read_run(path)
    old, new = found.options.as_json(), options.as_json()
    if differ := [name for name in new if old[name] != new[name]]:
        raise StoreError(_other(path, differ[0], old[differ[0]], new[differ[0]]))
    was, now = asdict(found.machine), asdict(machine)
    for name in _MACHINE_IDENTITY:
        if was[name] != now[name]:
            raise StoreError(_other(path, name, was[name], now[name]))
    return found


def _other(path: Path, name: str, was: object, now: object) -> str:
    return (
        f"{path} was begun with {name} {was}, this run has {now}; "
        "give the same, or begin a new run without --resume"
    )


def measure_speed(
    measured: Measured, out: Path, progress: Progress, run: Callable[[Job], Sample]
) -> Measured:
    """Measure in interleaved rounds what `measured` lacks, writing all to `out` after each job."""
    states = out.with_suffix(".states")  # also for a run that resumes this one
    rounds = measured.options.schedule(states)
    idle = measured.machine.idle_celsius
    jobs = [(number, job) for number, order in enumerate(rounds, start=1) for job in order]
    for number, job in jobs[len(measured.samples) :]:
        progress.stage(
            f"round {number}/{len(rounds)} {short_name(job.path)}, {job.threads} threads"
        )
        cool = idle + _MAX_CELSIUS_ABOVE_IDLE if idle is not None else None
        measured = measured.plus(run(replace(job, cool_celsius=cool)))
        save(measured, out)
    if states.exists():
        shutil.rmtree(states)
    return measured
