"""Samples of all rounds in, rows of llama-bench's columns and ours out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.contender import Case, Sample


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
    model_size: int
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
    ratio: median_ts over that of the first peer; None without one. bytes_read_per_token: weights
    (a table that only lookups read is left out) and the keys and values that half the steps see;
    None for prompts. share_of_bandwidth: what that is of the machine's read bandwidth.
    """

    model_filename: str
    engine: str
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
    """What all rows share; peer: the path that ratios refer to."""

    cases: tuple[Case, ...]
    threads: int
    peer: str | None
    bandwidth_bytes_per_s: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value."""
    q1, middle, q3 = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Spread(median=middle, q1=q1, q3=q3)


def contender_rows(samples: Mapping[str, Sequence[Sample]]) -> list[ContenderRow]:
    """One row a contender; samples: path -> its rounds."""
    return [_contender_row(path, rounds) for path, rounds in samples.items()]


def _contender_row(path: str, rounds: Sequence[Sample]) -> ContenderRow:
    return ContenderRow(
        model_filename=path,
        engine=rounds[0].facts.engine,
        model_size=rounds[0].facts.model_bytes,
        load_ms=spread([sample.load_ms for sample in rounds]),
        ttft_ms=spread([sample.ttft_ms for sample in rounds]),
        imports_rss_bytes=spread([sample.memory_before.rss_bytes for sample in rounds]),
        rss_bytes=spread([sample.memory.rss_bytes for sample in rounds]),
        pss_bytes=spread([sample.memory.pss_bytes for sample in rounds]),
        private_dirty_bytes=spread([sample.memory.private_dirty_bytes for sample in rounds]),
    )


def rows(samples: Mapping[str, Sequence[Sample]], settings: Settings) -> list[Row]:
    """One row a test and contender, test by test; tests that a contender skipped have none."""
    return [
        _row(case, samples[path], settings, _peer_median(case, samples, settings))
        for case in settings.cases
        for path in samples
        if case.name in samples[path][0].rates
    ]


def _peer_median(
    case: Case, samples: Mapping[str, Sequence[Sample]], settings: Settings
) -> float | None:
    rounds = samples[settings.peer] if settings.peer else []
    rates = [sample.rates[case.name] for sample in rounds if case.name in sample.rates]
    return spread(rates).median if rates else None


def _row(
    case: Case, rounds: Sequence[Sample], settings: Settings, peer_median: float | None
) -> Row:
    shared, facts = _contender_row(rounds[0].path, rounds), rounds[0].facts
    rates = [sample.rates[case.name] for sample in rounds]
    ts = spread(rates)
    read = None
    if case.n_gen:
        read = facts.weights_read_bytes + facts.kv_read_bytes(case.n_depth + case.n_gen // 2)
    return Row(
        model_filename=shared.model_filename,
        engine=facts.engine,
        backends="CPU",
        model_size=facts.model_bytes,
        model_n_params=facts.parameters,
        n_threads=settings.threads,
        n_prompt=case.n_prompt,
        n_gen=case.n_gen,
        n_depth=case.n_depth,
        test=case.name,
        avg_ts=float(np.mean(rates)),
        stddev_ts=float(np.std(rates, ddof=1)) if len(rates) > 1 else 0.0,
        samples_ts=rates,
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
        share_of_bandwidth=read * ts.median / settings.bandwidth_bytes_per_s if read else None,
    )
