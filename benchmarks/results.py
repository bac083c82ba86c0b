"""Samples of all rounds in, rows of llama-bench's columns and ours out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.contender import Case, Sample

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

    model_size: bytes of the weights' files. stddev_ts: of a sample, n - 1; 0 of a single one.
    n_samples: rounds that measured it. ratio: median_ts over that of the first peer with as many
    threads; None without one. bytes_read_per_token: weights (a table that only lookups read is left
    out) and the keys and values that half the steps see; None for prompts. share_of_bandwidth: what
    that is of what so many threads read.
    """

    model_filename: str
    engine: str
    label: str
    backends: str
    model_size: int
    model_n_params: int
    n_threads: int
    n_prompt: int
    n_gen: int
    n_depth: int
    test: str
    avg_ts: float
    stddev_ts: float
    samples_ts: Sequence[float]
    n_samples: int
    median_ts: float
    q1_ts: float
    q3_ts: float
    ratio: float | None
    load_ms: float
    ttft_ms: float
    imports_rss_bytes: float
    rss_bytes: float
    pss_bytes: float
    private_dirty_bytes: float
    bytes_read_per_token: int | None
    share_of_bandwidth: float | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all rows share; peer: the path that ratios refer to; bandwidths: bytes/s by threads."""

    cases: tuple[Case, ...]
    peer: str | None
    bandwidths: Mapping[int, float]


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
    ts, bandwidth, read = spread(rates), settings.bandwidths[rounds[0].threads], None
    if case.n_gen:
        read = facts.weights_read_bytes + facts.kv_read_bytes(case.n_depth + case.n_gen // 2)
    return Row(
        model_filename=shared.model_filename,
        engine=facts.engine,
        label=facts.label,
        backends="CPU",
        model_size=facts.model_bytes,
        model_n_params=facts.parameters,
        n_threads=shared.n_threads,
        n_prompt=case.n_prompt,
        n_gen=case.n_gen,
        n_depth=case.n_depth,
        test=case.name,
        avg_ts=float(np.mean(rates)),
        stddev_ts=float(np.std(rates, ddof=1)) if len(rates) > 1 else 0.0,
        samples_ts=rates,
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
        bytes_read_per_token=read,
        share_of_bandwidth=read * ts.median / bandwidth if read else None,
    )
