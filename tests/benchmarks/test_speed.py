"""The speed benchmark: its order, its arithmetic, its columns, and all of it on small bundles."""

import json
import mmap
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.benchmarks.conftest import MACHINE, sample
from tinyaya.benchmarks.speed.__main__ import speed
from tinyaya.benchmarks.speed.conditions.machine import read_bandwidth
from tinyaya.benchmarks.speed.conditions.memory import populate_memory, read_memory
from tinyaya.benchmarks.speed.contender import Case, Job, read_sample
from tinyaya.benchmarks.speed.options import SpeedOptions, shuffled
from tinyaya.benchmarks.speed.places.local import run_job
from tinyaya.benchmarks.speed.rows import Settings, contender_rows, group, rows, spread
from tinyaya.benchmarks.speed.runner import BundleRunner, Loading
from tinyaya.benchmarks.speed.runners import find_prepare
from tinyaya.runtime import read_manifest
from tinyaya.runtime.errors import BenchError

pytestmark = pytest.mark.serial

PROMPT, STEPS = Case(n_prompt=512), Case(n_gen=16, n_depth=4000)
# test::get_fields of llama.cpp's tools/llama-bench/llama-bench.cpp, and what its JSON adds.
LLAMA_BENCH = [
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "cpu_mask",
    "cpu_strict",
    "poll",
    "type_k",
    "type_v",
    "n_gpu_layers",
    "n_cpu_moe",
    "split_mode",
    "main_gpu",
    "no_kv_offload",
    "flash_attn",
    "devices",
    "tensor_split",
    "tensor_buft_overrides",
    "load_mode",
    "embeddings",
    "no_op_offload",
    "no_host",
    "fit_target",
    "fit_min_ctx",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ns",
    "samples_ts",
]
NOT_OURS = [
    "poll",
    "n_cpu_moe",
    "split_mode",
    "main_gpu",
    "no_kv_offload",
    "flash_attn",
    "devices",
    "tensor_split",
    "tensor_buft_overrides",
    "load_mode",
    "embeddings",
    "no_op_offload",
    "no_host",
    "fit_target",
    "fit_min_ctx",
]
OURS = [
    "engine",
    "label",
    "test",
    "n_samples",
    "median_ts",
    "q1_ts",
    "q3_ts",
    "ratio",
    "load_ms",
    "ttft_ms",
    "imports_rss_bytes",
    "rss_bytes",
    "pss_bytes",
    "private_dirty_bytes",
    "bytes_read_per_token",
    "share_of_bandwidth",
    "joules_per_token",
    "top_celsius",
    "throttled",
]
COLUMNS = [*(name for name in LLAMA_BENCH if name not in NOT_OURS), *OURS]


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
    orders = shuffled(jobs, 20, seed=3)
    assert all(sorted(one.path for one in order) == list("abcd") for order in orders)
    assert len({tuple(one.path for one in order) for order in orders}) > 5
    assert orders == shuffled(jobs, 20, seed=3) != shuffled(jobs, 20, seed=4)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_aggregation_is_numpys(count: int) -> None:
    rates = np.random.default_rng(count).uniform(1, 9, count).tolist()
    settings = Settings(cases=(PROMPT,), peer=None, bandwidths={2: 1e3})
    (row,) = rows({("a", 2): [sample("a", {"pp512": rate}) for rate in rates]}, settings)
    assert (row.q1_ts, row.median_ts, row.q3_ts) == tuple(np.percentile(rates, [25, 50, 75]))
    assert row.avg_ts == pytest.approx(sum(rates) / count)
    assert row.stddev_ts == pytest.approx(np.std(rates, ddof=1) if count > 1 else 0)
    assert row.samples_ts == rates
    assert row.n_samples == count


def test_quartiles_of_known_numbers() -> None:
    assert asdict(spread([4, 1, 3, 2])) == {"median": 2.5, "q1": 1.75, "q3": 3.25}


def test_ratio_is_to_the_first_peer_and_bytes_hold_the_caches() -> None:
    settings = Settings(cases=(PROMPT, STEPS), peer="p", bandwidths={2: 1e6})
    found = rows(
        {
            ("b", 2): [sample("b", {"pp512": 30.0, "tg16 @ d4000": rate}) for rate in (10, 20, 60)],
            ("p", 2): [sample("p", {"pp512": 15.0}) for _ in range(3)],
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


def test_ratio_and_bandwidth_are_of_the_same_threads() -> None:
    settings = Settings(cases=(PROMPT, STEPS), peer="p", bandwidths={1: 1e6, 2: 4e6})
    measured = [
        sample(path, {"pp512": rate, "tg16 @ d4000": rate}, threads=threads)
        for path, threads, rate in (("p", 1, 2.0), ("b", 2, 9.0), ("b", 1, 8.0), ("p", 2, 3.0))
    ]
    keys = (("b", 1), ("p", 1), ("b", 2), ("p", 2))
    found = rows(group(measured, keys), settings)
    assert [(row.model_filename, row.n_threads, row.ratio) for row in found[:4]] == [
        ("b", 1, 4.0),
        ("p", 1, 1.0),
        ("b", 2, 3.0),
        ("p", 2, 1.0),
    ]
    assert found[4].share_of_bandwidth == pytest.approx(found[6].share_of_bandwidth * 4 * 8 / 9)


def test_tests_of_some_rounds_say_how_many() -> None:
    settings = Settings(cases=(PROMPT,), peer=None, bandwidths={2: 1e3})
    rounds = [sample("a", {}), sample("a", {"pp512": 3.0}), sample("a", {"pp512": 5.0})]
    (row,) = rows({("a", 2): rounds}, settings)
    assert (row.n_samples, row.median_ts) == (2, 4.0)


def test_columns_are_llama_benchs_and_ours() -> None:
    settings = Settings(cases=(PROMPT,), peer=None, bandwidths={2: 1e3})
    (row,) = rows({("a", 2): [sample("a", {"pp512": 3.0})]}, settings)
    assert list(asdict(row)) == COLUMNS
    assert row.samples_ns == [round(1e9 * 512 / 3)]
    assert row.avg_ns == row.samples_ns[0]


def test_memory_is_the_median_of_the_rounds() -> None:
    (row,) = contender_rows({("a", 2): [sample("a", {}, rss) for rss in (9, 1, 2)]})
    assert row.rss_bytes.median == 2


def test_sample_survives_json() -> None:
    one = sample("a", {"pp512": 1.5})
    assert read_sample("noise of a library\n" + json.dumps(asdict(one))) == one


def test_memory_and_bandwidth_are_plausible() -> None:
    memory = read_memory()
    assert memory.rss_bytes >= memory.pss_bytes >= memory.private_dirty_bytes > 1e6
    assert 1e8 < read_bandwidth(2, 1 << 26) < 1e13


def test_populated_pages_are_the_processs_own() -> None:
    size = 64 << 20
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        pages[0] = 7
        before = read_memory().private_dirty_bytes
        populate_memory()
        assert read_memory().private_dirty_bytes - before > 0.9 * size
        assert pages[0] == 7


def test_failed_process_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"failed \(1\): .*manifest\.json is missing"):
        run_job(job(tmp_path))


def test_bundle_process_does_not_load_torch(bundles: Mapping[str, Path]) -> None:
    found = run_job(job(bundles["onnx"], "bundle", Case(n_prompt=4), Case(n_gen=2, n_depth=2000)))
    assert found.memory.rss_bytes < 150e6  # torch alone takes more
    assert found.rates.keys() == {"pp4"}
    assert found.skipped == {"tg2 @ d2000": "needs 2004 positions, the context is 1024"}


@pytest.mark.parametrize("engine", ["onnx", "executorch"])
def test_a_jump_feeds_the_last_chunk_where_it_belongs(
    engine: str, bundles: Mapping[str, Path]
) -> None:
    manifest, fed = read_manifest(bundles[engine]), []
    assert manifest.limits.chunk == 64

    class Recorder:
        def step(self, ids: list[int], position: int) -> np.ndarray:
            fed.append((list(ids), position))
            return np.zeros(1, np.float32)

    ids = list(range(300))
    BundleRunner(Recorder(), manifest).jump(ids)  # type: ignore[arg-type]
    BundleRunner(Recorder(), manifest).jump(ids[:10])  # type: ignore[arg-type]
    assert fed == [(ids[236:], 236), (ids[:10], 0)]


@pytest.mark.parametrize("engine", ["onnx", "executorch"])
def test_steps_after_a_jump_are_sound_and_leave_no_trace(
    engine: str, bundles: Mapping[str, Path]
) -> None:
    loading = Loading(path=bundles[engine], context=None, threads=1)
    runner = find_prepare("bundle")(loading)()
    ids = np.random.default_rng(0).integers(8, 10_000, 900).tolist()
    expected = runner.feed(ids[:70], 0)
    runner.jump(ids)
    assert np.isfinite(runner.feed([9], 900)).all()
    np.testing.assert_allclose(runner.feed(ids[:70], 0), expected, atol=1e-4)


def test_kv_type_is_in_the_label_and_the_bytes(bundles: Mapping[str, Path]) -> None:
    manifest = read_manifest(bundles["onnx"])
    layers = tuple(replace(shape, dtype="float32") for shape in manifest.cache)
    plain = replace(manifest, cache=layers)
    mixed = replace(manifest, cache=(*manifest.cache[:-1], layers[-1]))
    cases = (manifest, plain, mixed)
    facts = [BundleRunner(None, one).facts for one in cases]  # type: ignore[arg-type]
    kinds = ["int8", "float32", "int8/float32"]
    assert [one.label for one in facts] == [f"onnx int4 kv {kind}" for kind in kinds]
    assert facts[1].kv_read_bytes(99) == 4 * facts[0].kv_read_bytes(99) > 0


def test_long_prompts_and_thread_counts_make_jobs(bundles: Mapping[str, Path]) -> None:
    options = SpeedOptions(
        bundles=tuple(bundles.values()),
        peers=(),
        prompts=(8, 2048),
        contexts=(0,),
        threads=(1, 2),
        rounds=3,
        long_rounds=1,
        tokens=2,
        seed=0,
    )
    first, *others = options.schedule(Path("states"))
    assert {(one.path, one.threads) for one in first} == set(options.keys)
    assert len(first) == 4
    assert all("pp2048" in {case.name for case in one.cases} for one in first)
    assert not any("pp2048" in {case.name for case in one.cases} for o in others for one in o)


def invoke(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(speed)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_whole_benchmark(
    bundles: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tinyaya.benchmarks.speed.places.local.measure_bandwidths", lambda *_: MACHINE.bandwidths
    )
    out = tmp_path / "results.json"
    folders = [part for folder in bundles.values() for part in ("--bundle", folder)]
    sizes = ("--prompts", "8,70", "--contexts", "0,150,4000", "--rounds", 2, "--tokens", 3)
    text = invoke(*folders, *sizes, "--threads", "1,2", "--out", out)
    result = json.loads(out.read_text())
    assert len(result["results"]) == 2 * 2 * 4
    assert result["complete"]
    assert {row["n_threads"] for row in result["results"]} == {1, 2}
    assert {row["engine"] for row in result["results"]} == {"onnx", "executorch"}
    for row in result["results"]:
        assert list(row) == COLUMNS
        assert len(row["samples_ts"]) == 2
        assert 0 < row["q1_ts"] <= row["median_ts"] <= row["q3_ts"]
        assert (row["share_of_bandwidth"] is None) == bool(row["n_prompt"])
    assert set(result["skipped"]) == {str(folder) for folder in bundles.values()}
    assert "tg3 @ d150" in text
    assert "skipped" in text


@pytest.mark.parametrize(
    "wrong",
    [
        ("--prompts", "8,x"),
        ("--rounds", 0),
        ("--prompts", ""),
        ("--contexts", "-1"),
        ("--threads", "1,0"),
        ("--threads", ""),
        ("--long-rounds", 0),
        ("--prompts", "2048,128"),
    ],
)
def test_wrong_use_is_refused(wrong: tuple, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(speed)
    options = ["--bundle", str(tmp_path), "--out", str(tmp_path / "o.json"), *map(str, wrong)]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 2
    assert "Invalid value" in result.output
