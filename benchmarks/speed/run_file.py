"""Keeps what a run has measured so far, and writes it to a results file after each process."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tinyaya.benchmarks.speed.conditions.machine import Machine, parse_machine
from tinyaya.benchmarks.speed.contender import Sample, parse_sample
from tinyaya.benchmarks.speed.options import SpeedOptions, parse_options
from tinyaya.benchmarks.speed.rows import (
    ContenderRow,
    LanguageRow,
    Row,
    Settings,
    contender_rows,
    group,
    language_rows,
    rows,
)
from tinyaya.runtime.errors import BenchError
from tinyaya.runtime.facts import Density, parse_density
from tinyaya.runtime.whole_file import write_whole

FORMAT, FORMAT_VERSION = "tinyaya-bench", 1


class StoreError(BenchError):
    """Results cannot be read, or are of another run; the message says which and the way out."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run, finished or not: samples in the order of its schedule. All else follows from them.

    densities: path of a bundle -> how much text its tokens hold.
    """

    options: SpeedOptions
    machine: Machine
    samples: tuple[Sample, ...] = ()
    densities: Mapping[str, tuple[Density, ...]] = field(default_factory=dict)

    def plus(self, sample: Sample) -> "Measured":
        """With one more sample; raises StoreError if the contender is not what it was."""
        for earlier in self.samples:
            if earlier.path == sample.path and earlier.facts != sample.facts:
                raise StoreError(f"{sample.path} has changed since the run began; begin a new one")
        return replace(self, samples=(*self.samples, sample))

    @property
    def expected_samples(self) -> int:
        """How many a finished run has."""
        return self.options.rounds * len(self.options.keys)

    def contenders(self) -> list[ContenderRow]:
        """One row a contender."""
        return contender_rows(group(self.samples, self.options.keys))

    def rows(self) -> list[Row]:
        """One row a test and contender."""
        settings = Settings(
            cases=self.options.cases,
            peer=str(self.options.peers[0]) if self.options.peers else None,
            bandwidths={row.threads: row.read_bytes_per_s for row in self.machine.bandwidths},
            cpu=self.machine.cpu,
            version=self.machine.versions.get("tinyaya-export", ""),
            cpus=self.options.cpus,
        )
        return rows(group(self.samples, self.options.keys), settings)

    def languages(self) -> list[LanguageRow]:
        """One row a bundle, count of threads and language."""
        return language_rows(self.rows(), self.densities)

    def skipped(self) -> Mapping[str, Mapping[str, str]]:
        """Path -> test -> why."""
        found: dict[str, Mapping[str, str]] = {}
        for sample in self.samples:
            if sample.skipped:
                found[sample.path] = {**found.get(sample.path, {}), **sample.skipped}
        return found


def save(measured: Measured, path: Path) -> None:
    """Write it whole: a reader, or a run that was killed, finds the old file or the new one."""
    raw = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "options": measured.options.as_json(),
        "machine": asdict(measured.machine),
        "complete": len(measured.samples) == measured.expected_samples,
        "contenders": [asdict(row) for row in measured.contenders()],
        "skipped": measured.skipped(),
        "results": [asdict(row) for row in measured.rows()],
        "languages": [asdict(row) for row in measured.languages()],
        "densities": {
            path: [asdict(row) for row in found] for path, found in measured.densities.items()
        },
        "samples": [asdict(sample) for sample in measured.samples],
    }
    write_whole(path, json.dumps(raw, indent=1) + "\n")


def parse_measured(raw: Mapping[str, Any]) -> Measured:
    """The Measured that `save` wrote as `raw`."""
    return Measured(
        options=parse_options(raw["options"]),
        machine=parse_machine(raw["machine"]),
        samples=tuple(parse_sample(sample) for sample in raw["samples"]),
        densities={
            bundle: tuple(map(parse_density, found)) for bundle, found in raw["densities"].items()
        },
    )
