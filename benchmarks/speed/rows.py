"""Sums up the samples of all rounds in rows of llama-bench's columns and ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyaya.benchmarks.speed.contender import Case, Sample
from tinyaya.runtime.facts import Density, Facts

Key = tuple[str, int]  # path and threads of a contender


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, lower and upper quartile, interpolated linearly between samples."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True, kw_only=True)
class ContenderRow:
    """What is measured once a round, whatever the test.

    ttft_ms: from the first prompt's ids to a token, right after loading. imports_rss_bytes: part
    of rss_bytes that was there before anything was loaded.
    """

    model_filename: str
    engine: str
    label: str
    n_threads: int
    model_size: int
    n_samples: int
    load_ms: Spread
    ttft_ms: Spread
    imports_rss_bytes: Spread
    rss_bytes: Spread
    pss_bytes: Spread
    private_dirty_bytes: Spread


@dataclass(frozen=True, kw_only=True)
class Row:
    """One test of one contender; `_ts` is tokens a second, `_bytes` and `_ms` are medians.

    The first columns are llama-bench's, in its order. model_size: bytes of the weights' files.
    stddev: of a sample, n - 1; 0 of a single one. n_batch, n_ubatch: tokens of a step. n_samples:
    rounds that measured it. ratio: median_ts over that of the first peer with as many threads; None
    without one. bytes_read_per_token: weights (a table that only lookups read is left out) and the
    keys and values that half the steps see; None for prompts. share_of_bandwidth: what that is of
    what so many threads read. joules_per_token: of all that the sensor sees; None without one.
    throttled: in any round.
    """

    build_commit: str
    build_number: int
    cpu_info: str
    gpu_info: str
    backends: str
    model_filename: str
    model_type: str
    model_size: int
    model_n_params: int
    n_batch: int
    n_ubatch: int
    n_threads: int
    cpu_mask: str
    cpu_strict: bool
    type_k: str
    type_v: str
    n_gpu_layers: int
    n_prompt: int
    n_gen: int
    n_depth: int
    test_time: str
    avg_ns: int
    stddev_ns: int
    avg_ts: float
    stddev_ts: float
    samples_ns: Sequence[int]
    samples_ts: Sequence[float]
    engine: str
    label: str
    test: str
    n_samples: int
    median_ts: float
    q1_ts: float
    q3_ts: float
    ratio: float | None
    load_ms: float
    ttft_ms: float
    imports_rss_bytes: float
    rss_bytes: float
    pss_bytes: float | None
    private_dirty_bytes: float | None
    bytes_read_per_token: int | None
    share_of_bandwidth: float | None
    joules_per_token: float | None
    top_celsius: float | None
    throttled: bool


@dataclass(frozen=True, kw_only=True)
class LanguageRow:
    """What a bundle's median rates are in one language's characters a second.

    prefill and decode are those of the first test of each kind. None where that was not measured.
    """

    model_filename: str
    label: str
    n_threads: int
    code: str
    name: str
    characters_per_token: float
    tokens_to_english: float | None
    prefill_characters_per_s: float | None
    decode_characters_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all rows share; peer: the path that ratios refer to; bandwidths: bytes/s by threads."""

    cases: tuple[Case, ...]
    peer: str | None
    bandwidths: Mapping[int, float]
    cpu: str = ""
    version: str = ""
    cpus: tuple[int, ...] = ()


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value."""
    q1, middle, q3 = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Spread(median=middle, q1=q1, q3=q3)


def group(samples: Sequence[Sample], keys: Sequence[Key]) -> dict[Key, list[Sample]]:
    """Contender -> its rounds, in the order of `keys`; contenders without any are left out."""
    groups = {
        key: [sample for sample in samples if (sample.path, sample.threads) == key] for key in keys
    }
    return {key: rounds for key, rounds in groups.items() if rounds}


def contender_rows(groups: Mapping[Key, Sequence[Sample]]) -> list[ContenderRow]:
    """One row a contender."""
    return [_contender_row(rounds) for rounds in groups.values()]


def _contender_row(rounds: Sequence[Sample]) -> ContenderRow:
    first = rounds[0]
    return ContenderRow(
        model_filename=first.path,
        engine=first.facts.engine,
        label=first.facts.label,
        n_threads=first.threads,
        model_size=first.facts.model_bytes,
        n_samples=len(rounds),
        load_ms=spread([sample.load_ms for sample in rounds]),
        ttft_ms=spread([sample.ttft_ms for sample in rounds]),
        imports_rss_bytes=spread([sample.memory_before.rss_bytes for sample in rounds]),
        rss_bytes=spread([sample.memory.rss_bytes for sample in rounds]),
        pss_bytes=spread([sample.memory.pss_bytes for sample in rounds]),
        private_dirty_bytes=spread([sample.memory.private_dirty_bytes for sample in rounds]),
    )


def rows(groups: Mapping[Key, Sequence[Sample]], settings: Settings) -> list[Row]:
    """One row a test and contender, test by test; tests that a contender skipped have none."""
    return [
        _row(case, groups[key], settings, _peer_median(case, groups, settings, key[1]))
        for case in settings.cases
        for key in groups
        if _measured(case, groups[key])
    ]


def _measured(case: Case, rounds: Sequence[Sample]) -> list[float]:
    return [sample.rates[case.name] for sample in rounds if case.name in sample.rates]


def _peer_median(
    case: Case, groups: Mapping[Key, Sequence[Sample]], settings: Settings, threads: int
) -> float | None:
    rounds = groups.get((settings.peer, threads), []) if settings.peer else []
    rates = _measured(case, rounds)
    return spread(rates).median if rates else None


def _row(
    case: Case, rounds: Sequence[Sample], settings: Settings, peer_median: float | None
) -> Row:
    shared, facts, rates = _contender_row(rounds), rounds[0].facts, _measured(case, rounds)
    ts, read = spread(rates), bytes_read(case, facts)
    return Row(
        **case_columns(case, facts, rates),
        build_commit=settings.version,
        cpu_info=settings.cpu,
        backends="CPU",
        model_filename=shared.model_filename,
        n_threads=shared.n_threads,
        cpu_mask=hex(sum(1 << cpu for cpu in settings.cpus)),
        test_time=rounds[0].started,
        avg_ts=float(np.mean(rates)),
        stddev_ts=deviation(rates),
        n_samples=len(rates),
        median_ts=ts.median,
        q1_ts=ts.q1,
        q3_ts=ts.q3,
        ratio=ts.median / peer_median if peer_median else None,
        load_ms=shared.load_ms.median,
        ttft_ms=shared.ttft_ms.median,
        imports_rss_bytes=shared.imports_rss_bytes.median,
        rss_bytes=shared.rss_bytes.median,
        pss_bytes=shared.pss_bytes.median,
        private_dirty_bytes=shared.private_dirty_bytes.median,
        share_of_bandwidth=_share(read, ts.median, settings.bandwidths, shared.n_threads),
        joules_per_token=_joules(case, rounds),
        top_celsius=_top_celsius(rounds),
        throttled=any(one.conditions.throttled for one in rounds if one.conditions),
    )


def case_columns(case: Case, facts: Facts, rates: Sequence[float]) -> dict[str, Any]:
    """The columns of a Row that follow from these alone, whatever measured them."""
    times_ns = [round(1e9 * (case.n_prompt + case.n_gen) / rate) for rate in rates]
    return {
        "build_number": 0,
        "gpu_info": "",
        "model_type": facts.model_type,
        "model_size": facts.model_bytes,
        "model_n_params": facts.parameters,
        "n_batch": facts.chunk,
        "n_ubatch": facts.chunk,
        "cpu_strict": False,
        "type_k": facts.kv_type,
        "type_v": facts.kv_type,
        "n_gpu_layers": 0,
        "n_prompt": case.n_prompt,
        "n_gen": case.n_gen,
        "n_depth": case.n_depth,
        "avg_ns": round(float(np.mean(times_ns))),
        "stddev_ns": round(deviation(times_ns)),
        "samples_ns": times_ns,
        "samples_ts": list(rates),
        "engine": facts.engine,
        "label": facts.label,
        "test": case.name,
        "bytes_read_per_token": bytes_read(case, facts),
    }


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of a sample, n - 1; 0 of a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def bytes_read(case: Case, facts: Facts) -> int | None:
    """A token of `case`; None for prompts."""
    if not case.n_gen:
        return None
    return facts.weights_read_bytes + facts.kv_read_bytes(case.n_depth + case.n_gen // 2)


def _share(
    read: int | None, rate: float, bandwidths: Mapping[int, float], threads: int
) -> float | None:
    return read * rate / bandwidths[threads] if read and threads in bandwidths else None


def _joules(case: Case, rounds: Sequence[Sample]) -> float | None:
    found = [
        one.conditions.joules_per_token[case.name]
        for one in rounds
        if one.conditions and case.name in one.conditions.joules_per_token
    ]
    return spread(found).median if found else None


def _top_celsius(rounds: Sequence[Sample]) -> float | None:
    heats = [one.conditions.top_celsius for one in rounds if one.conditions]
    return max((heat for heat in heats if heat is not None), default=None)


def language_rows(
    found: Sequence[Row], densities: Mapping[str, Sequence[Density]]
) -> list[LanguageRow]:
    """One row a bundle, count of threads and language, of the rates in `found`."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in found:
        groups.setdefault((row.model_filename, row.label, row.n_threads), []).append(row)
    return [
        _language_row(one, mine)
        for mine in groups.values()
        for one in densities.get(mine[0].model_filename, ())
    ]


def _language_row(one: Density, mine: Sequence[Row]) -> LanguageRow:
    prefill = next((row.median_ts for row in mine if row.n_prompt), None)
    decode = next((row.median_ts for row in mine if row.n_gen), None)
    per = one.characters_per_token
    return LanguageRow(
        model_filename=mine[0].model_filename,
        label=mine[0].label,
        n_threads=mine[0].n_threads,
        code=one.code,
        name=one.name,
        characters_per_token=per,
        tokens_to_english=one.tokens_to_english,
        prefill_characters_per_s=prefill * per if prefill else None,
        decode_characters_per_s=decode * per if decode else None,
    )


def short_name(path: str) -> str:
    """The last two parts of a path: enough to know a contender by."""
    return "/".join(Path(path).parts[-2:])


def names(contenders: Sequence[ContenderRow]) -> dict[str, str]:
    """Path -> label, with the path's last part where two have the same label."""
    labels = {row.model_filename: row.label for row in contenders}
    shared = [label for label in labels.values() if list(labels.values()).count(label) > 1]
    return {
        path: f"{label} ({Path(path).name})" if label in shared else label
        for path, label in labels.items()
    }
