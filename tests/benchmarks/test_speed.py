"""The speed benchmark: its order, its arithmetic, its columns, and all of it on small bundles."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.contender import Case, Job, Memory, Sample, read_memory, read_sample
from benchmarks.machine import Machine, read_bandwidth
from benchmarks.results import Settings, contender_rows, rows, spread
from benchmarks.runner import Facts, KvLayer
from benchmarks.speed import ContenderError, run_job, schedule, speed

PROMPT, STEPS = Case(n_prompt=512), Case(n_gen=16, n_depth=4000)
FACTS = Facts(
    engine="onnx",
    model_bytes=1000,
    parameters=2000,
    vocab_size=10,
    context=8192,
    weights_read_bytes=900,
    layers=(KvLayer(window=8, position_bytes=4), KvLayer(window=None, position_bytes=4)),
)
LLAMA_BENCH = {
    *("model_filename", "model_size", "model_n_params", "n_prompt", "n_gen", "n_depth"),
    *("n_threads", "avg_ts", "stddev_ts", "samples_ts", "backends", "test"),
}
OURS = {
    *("engine", "median_ts", "q1_ts", "q3_ts", "ratio", "load_ms", "ttft_ms", "rss_bytes"),
    *("pss_bytes", "private_dirty_bytes", "imports_rss_bytes"),
    *("bytes_read_per_token", "share_of_bandwidth"),
}


def sample(path: str, rates: Mapping[str, float], rss: int = 7) -> Sample:
    memory = Memory(rss_bytes=rss, pss_bytes=6, private_dirty_bytes=5)
    return Sample(
        path=path,
        facts=FACTS,
        load_ms=1.0,
        ttft_ms=2.0,
        memory=memory,
        memory_before=memory,
        rates=rates,
        skipped={},
    )


def job(path: object, kind: str = "bundle", *cases: Case) -> Job:
    return Job(
        kind=kind,
        path=str(path),
        context=None,
        threads=1,
        seed=0,
        cases=cases or (Case(n_prompt=4),),
    )


def test_cases_are_named_as_llama_bench_does() -> None:
    assert [PROMPT.name, STEPS.name, Case(n_gen=4).name] == ["pp512", "tg16 @ d4000", "tg4"]


def test_every_round_holds_every_contender_in_an_order_of_the_seed() -> None:
    jobs = [job(name) for name in "abcd"]
    orders = schedule(jobs, 20, seed=3)
    assert all(sorted(one.path for one in order) == list("abcd") for order in orders)
    assert len({tuple(one.path for one in order) for order in orders}) > 5
    assert orders == schedule(jobs, 20, seed=3) != schedule(jobs, 20, seed=4)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_aggregation_is_numpys(count: int) -> None:
    rates = np.random.default_rng(count).uniform(1, 9, count).tolist()
    settings = Settings(cases=(PROMPT,), threads=2, peer=None, bandwidth_bytes_per_s=1e3)
    (row,) = rows({"a": [sample("a", {"pp512": rate}) for rate in rates]}, settings)
    assert (row.q1_ts, row.median_ts, row.q3_ts) == tuple(np.percentile(rates, [25, 50, 75]))
    assert row.avg_ts == pytest.approx(sum(rates) / count)
    assert row.stddev_ts == pytest.approx(np.std(rates, ddof=1) if count > 1 else 0)
    assert row.samples_ts == rates


def test_quartiles_of_known_numbers() -> None:
    assert asdict(spread([4, 1, 3, 2])) == {"median": 2.5, "q1": 1.75, "q3": 3.25}


def test_ratio_is_to_the_first_peer_and_bytes_hold_the_caches() -> None:
    settings = Settings(cases=(PROMPT, STEPS), threads=2, peer="p", bandwidth_bytes_per_s=1e6)
    found = rows(
        {
            "b": [sample("b", {"pp512": 30.0, "tg16 @ d4000": rate}) for rate in (10, 20, 60)],
            "p": [sample("p", {"pp512": 15.0}) for _ in range(3)],
        },
        settings,
    )
    assert [(row.model_filename, row.test, row.ratio) for row in found] == [
        ("b", "pp512", 2.0),
        ("p", "pp512", 1.0),
        ("b", "tg16 @ d4000", None),
    ]
    assert found[0].bytes_read_per_token is None
    assert found[2].bytes_read_per_token == 900 + 4 * 8 + 4 * 4009
    assert found[2].share_of_bandwidth == pytest.approx((900 + 32 + 16036) * 20 / 1e6)


def test_columns_are_llama_benchs_and_ours() -> None:
    settings = Settings(cases=(PROMPT,), threads=2, peer=None, bandwidth_bytes_per_s=1e3)
    (row,) = rows({"a": [sample("a", {"pp512": 3.0})]}, settings)
    assert set(asdict(row)) == LLAMA_BENCH | OURS


def test_memory_is_the_median_of_the_rounds() -> None:
    (row,) = contender_rows({"a": [sample("a", {}, rss) for rss in (9, 1, 2)]})
    assert row.rss_bytes.median == 2


def test_sample_survives_json() -> None:
    one = sample("a", {"pp512": 1.5})
    assert read_sample("noise of a library\n" + json.dumps(asdict(one))) == one


def test_memory_and_bandwidth_are_plausible() -> None:
    memory = read_memory()
    assert memory.rss_bytes >= memory.pss_bytes >= memory.private_dirty_bytes > 1e6
    assert 1e8 < read_bandwidth(2, 1 << 26) < 1e13


def test_failed_process_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"failed \(1\): .*manifest\.json is missing"):
        run_job(job(tmp_path))


def test_bundle_process_does_not_load_torch(bundles: Mapping[str, Path]) -> None:
    found = run_job(job(bundles["onnx"], "bundle", Case(n_prompt=4), Case(n_gen=2, n_depth=2000)))
    assert found.memory.rss_bytes < 150e6  # torch alone takes more
    assert found.rates.keys() == {"pp4"}
    assert found.skipped == {"tg2 @ d2000": "needs 2002 positions, the context is 1024"}


def invoke(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(speed)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_whole_benchmark(
    bundles: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(
        cpu="test",
        cores=2,
        memory_bytes=1,
        system="test",
        versions={},
        threads=1,
        read_bytes_per_s=1e10,
    )
    monkeypatch.setattr("benchmarks.speed.describe_machine", lambda threads: machine)
    out = tmp_path / "results.json"
    folders = [part for folder in bundles.values() for part in ("--bundle", folder)]
    sizes = ("--prompts", "8,70", "--contexts", "0,150,4000", "--rounds", 2, "--tokens", 3)
    text = invoke(*folders, *sizes, "--threads", 1, "--out", out)
    result = json.loads(out.read_text())
    assert len(result["results"]) == 2 * 4
    assert {row["engine"] for row in result["results"]} == {"onnx", "executorch"}
    for row in result["results"]:
        assert set(row) == LLAMA_BENCH | OURS
        assert len(row["samples_ts"]) == 2
        assert 0 < row["q1_ts"] <= row["median_ts"] <= row["q3_ts"]
        assert (row["share_of_bandwidth"] is None) == bool(row["n_prompt"])
    assert set(result["skipped"]) == {str(folder) for folder in bundles.values()}
    assert "tg3 @ d150" in text
    assert "skipped" in text


@pytest.mark.parametrize(
    "wrong", [("--prompts", "8,x"), ("--rounds", 0), ("--prompts", ""), ("--contexts", "-1")]
)
def test_wrong_use_is_refused(wrong: tuple, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(speed)
    options = ["--bundle", str(tmp_path), "--out", str(tmp_path / "o.json"), *map(str, wrong)]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 2
    assert "Invalid value" in result.output
