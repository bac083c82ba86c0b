"""Measures a job on this machine in a fresh process that a second one watches."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Protocol

from tinyaya.benchmarks.speed.conditions.machine import (
    Bandwidth,
    Machine,
    describe_machine,
    measure_bandwidths,
    pinned,
)
from tinyaya.benchmarks.speed.conditions.sensors import Sensors
from tinyaya.benchmarks.speed.conditions.watch import Watch
from tinyaya.benchmarks.speed.contender import Job, Sample, read_sample
from tinyaya.runtime.errors import BenchError

_MAX_RESTS = 10  # times the rest that was asked for, while the processor stays hot


class Place(Protocol):
    """Where jobs are measured."""

    def describe(self) -> Machine:
        """The machine, without its bandwidths."""

    def bandwidths(self, threads: Sequence[int], cpus: Sequence[int]) -> tuple[Bandwidth, ...]:
        """What each count of threads reads on `cpus`; none: on all."""

    def run(self, job: Job) -> Sample:
        """Measure once; raises BenchError."""


class Here:
    """On this machine."""

    def describe(self) -> Machine:
        """As `Place.describe`."""
        return describe_machine()

    def bandwidths(self, threads: Sequence[int], cpus: Sequence[int]) -> tuple[Bandwidth, ...]:
        """As `Place.bandwidths`."""
        return measure_bandwidths(threads, cpus)

    def run(self, job: Job) -> Sample:
        """As `Place.run`."""
        return run_job(job)


def run_job(job: Job) -> Sample:
    """Rest, then measure in a fresh process; raises BenchError if it fails."""
    sensors = Sensors(cpus=job.cpus)
    cool_down(sensors, job.cooldown_s, job.cool_celsius)
    command = [sys.executable, "-m", "tinyaya.benchmarks.speed.contender", json.dumps(asdict(job))]
    with Watch(sensors) as watch, pinned(job.cpus):
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{job.path} failed ({process.returncode}): {last}")
    sample = read_sample(process.stdout)
    max_hz = {
        cpu: cluster.max_hz
        for cluster in describe_machine().clusters
        for cpu in cluster.cpus
        if cluster.max_hz
    }
    return replace(sample, conditions=watch.conditions(max_hz, sample.spans))


def cool_down(
    sensors: Sensors,
    rest_s: float,
    cool_celsius: float | None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Rest, and go on while the processor is hotter than that, up to ten times as long."""
    for count in range(_MAX_RESTS if rest_s else 0):
        heat = max(sensors.read(time.monotonic()).celsius.values(), default=None)
        if count and (heat is None or cool_celsius is None or heat <= cool_celsius):
            return
        pause(rest_s)
