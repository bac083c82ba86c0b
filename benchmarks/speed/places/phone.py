"""Turns the Android demo's report into the columns that all machines have."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinyaya.benchmarks.speed.conditions.machine import Machine
from tinyaya.benchmarks.speed.contender import Case
from tinyaya.benchmarks.speed.rows import Row, case_columns, language_rows
from tinyaya.benchmarks.speed.run_file import FORMAT, FORMAT_VERSION
from tinyaya.export.languages.densities import read_densities
from tinyaya.runtime import read_manifest
from tinyaya.runtime.errors import AdbError
from tinyaya.runtime.facts import Facts, bundle_facts

# Android throttles from the first one on.
_THROTTLED_STATES = ("moderate", "severe", "critical", "emergency", "shutdown")
_COPIED_COLUMNS = (
    "backends", "n_threads", "avg_ts", "stddev_ts", "n_samples", "median_ts", "q1_ts", "q3_ts",
    "load_ms", "ttft_ms", "imports_rss_bytes", "rss_bytes",
)  # fmt: skip


def phone_results(report: Mapping[str, Any], bundle: Path) -> dict[str, Any]:
    """What `save` writes of other machines, with the app's own report beside it; AdbError."""
    facts = bundle_facts(read_manifest(bundle))
    try:
        samples = report.get("samples", ())
        heats = {row["test"] for row in samples if row["heat"] in _THROTTLED_STATES}
        rows = [_row(raw, facts, bundle, heats) for raw in report["rows"]]
        machine = _machine(report["device"])
    except (KeyError, TypeError) as error:
        raise AdbError(
            f"the app's report lacks {error}; install the app of this version"
        ) from error
    densities = {str(bundle): read_densities(bundle)}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "machine": asdict(machine),
        "complete": True,
        "results": [asdict(row) for row in rows],
        "languages": [asdict(row) for row in language_rows(rows, densities)],
        "phone": report,
    }


def _machine(device: Mapping[str, Any]) -> Machine:
    """As far as an app is told; what it is not told is empty."""
    return Machine(
        name=" ".join(str(device[key]) for key in ("manufacturer", "model") if key in device),
        cpu=str(device.get("hardware", "")),
        cores=int(device.get("cores", 0)),
        memory_bytes=int(device.get("memory_bytes", 0)),
        system=f"Android API {device.get('android', '')}".strip(),
        versions={},
        bandwidths=(),
    )


def _row(raw: Mapping[str, Any], facts: Facts, bundle: Path, heats: Collection[str]) -> Row:
    case = Case(n_prompt=raw["n_prompt"], n_gen=raw["n_gen"], n_depth=raw["n_depth"])
    return Row(
        **case_columns(case, facts, raw["samples_ts"]),
        **{name: raw[name] for name in _COPIED_COLUMNS},
        build_commit="",
        cpu_info="",
        model_filename=str(bundle),
        cpu_mask="0x0",
        test_time="",
        ratio=None,
        pss_bytes=None,
        private_dirty_bytes=None,
        share_of_bandwidth=None,
        joules_per_token=None,
        top_celsius=raw["battery_celsius"],
        throttled=raw["test"] in heats,
    )
