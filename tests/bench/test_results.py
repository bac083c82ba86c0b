"""Columns, quartiles, languages, files and the phone, against other arithmetic than our own."""

import csv
import json
import statistics
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import tokenizers

from tests.bench.made_results import DENSITIES, FACTS, write_all
from tinyaya.benchmarks.speed.any_file import read_results, read_run, write_csv
from tinyaya.benchmarks.speed.conditions.machine import pinned, read_bandwidth
from tinyaya.benchmarks.speed.places.phone import phone_results
from tinyaya.benchmarks.speed.rows import spread
from tinyaya.export.languages.densities import read_densities
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.runtime.errors import AdbError, BenchError

NANO = Path(__file__).parents[1] / "assets" / "nano"
APP_ROW = {
    "model_filename": "aya-onnx", "engine": "onnx", "label": "onnx int4", "backends": "CPU",
    "model_size": 1, "model_n_params": 1, "n_threads": 4, "n_prompt": 0, "n_gen": 64,
    "n_depth": 128, "test": "decode 64 at 128", "avg_ts": 11.0, "stddev_ts": 1.0,
    "samples_ts": [10.0, 11.0, 12.0], "n_samples": 3, "median_ts": 11.0, "q1_ts": 10.5,
    "q3_ts": 11.5, "ratio": None, "load_ms": 900.0, "ttft_ms": 800.0, "imports_rss_bytes": 9,
    "rss_bytes": 3e9, "battery_celsius": 38.0, "battery_milliampere": -900.0,
}  # fmt: skip
APP_REPORT = {
    "format": "tinyaya-android-bench",
    "format_version": 1,
    "device": {
        "manufacturer": "Made-up", "model": "P1", "hardware": "m1", "android": 34, "cores": 8,
        "big_cores": 4, "memory_bytes": 12_000_000_000,
    },
    "rows": [APP_ROW, {**APP_ROW, "n_prompt": 512, "n_gen": 0, "n_depth": 0, "test": "prompt 512"}],
    "samples": [
        {"test": "prompt 512", "heat": "severe"}, {"test": "decode 64 at 128", "heat": "none"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("count", [2, 5, 9])
def test_quartiles_are_those_of_pythons_statistics(count: int) -> None:
    values = [((7 * index) % 11) ** 1.5 for index in range(count)]
    expected = statistics.quantiles(values, n=4, method="inclusive")
    found = spread(values)
    assert [found.q1, found.median, found.q3] == pytest.approx(expected)


def test_rows_follow_from_the_samples(tmp_path: Path) -> None:
    row = next(row for row in read_run(write_all(tmp_path)[0]).rows() if row.test == "tg64 @ d2000")
    rates = [4.0 * (1 + step / 50) for step in (-2, -1, 0, 1, 2)]
    assert row.samples_ts == pytest.approx(rates)
    assert row.stddev_ts == pytest.approx(statistics.stdev(rates))
    assert row.stddev_ns == pytest.approx(statistics.stdev(64e9 / rate for rate in rates), abs=1)
    read = 2_100_000_000 + 2 * 1024 * (2000 + 32 + 1)  # weights, two layers, half the steps
    assert row.bytes_read_per_token == read
    assert row.share_of_bandwidth == pytest.approx(read * 4.0 / 12e9)
    assert row.cpu_mask == "0xf"
    assert row.joules_per_token is None and not row.throttled


def test_a_throttled_round_marks_its_rows(tmp_path: Path) -> None:
    paths = write_all(tmp_path)
    assert all(row.throttled for row in read_run(paths[1]).rows())
    metered = {row.test: row.joules_per_token for row in read_run(paths[2]).rows()}
    assert metered == {"pp512": None, "tg64": 2.2, "tg64 @ d2000": None}


def test_languages_are_rates_times_characters(tmp_path: Path) -> None:
    rows = read_run(write_all(tmp_path)[0]).languages()
    burmese = next(row for row in rows if row.code == "my")
    assert burmese.decode_characters_per_s == pytest.approx(4.4 * 1.1)
    assert burmese.prefill_characters_per_s == pytest.approx(21 * 1.1)
    assert {row.code for row in rows} == {one.code for one in DENSITIES}


def test_characters_a_token_are_those_of_the_bundles_own_tokenizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = tokenizers.Tokenizer.from_file(str(NANO / "tokenizer.json"))
    encode = lambda text, add_bos: library.encode(text, add_special_tokens=False).ids  # noqa: E731
    bundle = type("B", (), {"tokenizer": type("T", (), {"encode": staticmethod(encode)})})
    monkeypatch.setattr(
        "tinyaya.export.languages.densities.open_bundle", lambda path, check_hashes: bundle
    )
    found = {one.code: one for one in read_densities(NANO)}
    texts = evaluation_texts(None)
    assert found.keys() == texts.keys() and len(found) == 67
    for code in ("en", "sw", "my", "ja"):
        tokens = len(library.encode(texts[code], add_special_tokens=False).ids)
        assert found[code].characters_per_token == pytest.approx(len(texts[code]) / tokens)
    assert found["en"].tokens_to_english == 1.0
    assert found["my"].tokens_to_english > 1.5  # type: ignore[operator]
    assert read_densities(NANO, {"sw": texts["sw"]})[0].tokens_to_english is None


def test_csv_has_the_figures_of_the_json(tmp_path: Path) -> None:
    paths = write_all(tmp_path)
    write_csv(tmp_path / "all.csv", [read_results(path) for path in paths])
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 + 2
    first = json.loads(paths[0].read_text())["results"][0]
    assert rows[0]["machine"] == "Made-up Board A"
    for name in ("median_ts", "avg_ns", "test", "model_size", "rss_bytes"):
        assert rows[0][name] == str(first[name])
    assert "samples_ts" not in rows[0]
    assert rows[-1]["median_ts"] == "4.2" and rows[-1]["rss_bytes"] == ""


def test_llama_benchs_own_file_is_read(tmp_path: Path) -> None:
    found = read_results(write_all(tmp_path)[3])
    assert [(row["test"], row["median_ts"], row["q1_ts"]) for row in found.rows] == [
        ("pp512", 20.0, 19.5),
        ("tg64", 4.2, 4.2),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[1]",
        '{"format": "tinyaya-bench", "format_version": 2}',
        '{"format": "other", "format_version": 1}',
        '[{"n_prompt": 1}]',
        '{"format": "tinyaya-bench", "format_version": 1, "results": 3}',
        "[" * 100_000,
    ],
)
def test_other_files_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BenchError, match="does not hold results of a benchmark") as caught:
        read_results(path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(BenchError, match="cannot be read"):
        read_results(tmp_path / "none.json")


def test_rates_that_are_no_rates_are_refused(tmp_path: Path) -> None:
    raw = json.loads(write_all(tmp_path)[0].read_text())
    for wrong in (0, -1, "fast", None, float("nan")):
        raw["results"][0]["median_ts"] = wrong
        (tmp_path / "x.json").write_text(json.dumps(raw))
        with pytest.raises(BenchError, match="does not hold results"):
            read_results(tmp_path / "x.json")


@pytest.fixture
def _phones_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyaya.benchmarks.speed.places.phone.read_manifest", lambda path: None)
    monkeypatch.setattr(
        "tinyaya.benchmarks.speed.places.phone.bundle_facts", lambda manifest: FACTS
    )
    monkeypatch.setattr(
        "tinyaya.benchmarks.speed.places.phone.read_densities", lambda path: DENSITIES
    )


@pytest.mark.usefixtures("_phones_bundle")
def test_a_phone_has_the_columns_of_a_board(tmp_path: Path) -> None:
    board = json.loads(write_all(tmp_path)[0].read_text())
    phone = phone_results(APP_REPORT, Path("aya/onnx"))
    assert list(phone["results"][0]) == list(board["results"][0])
    assert list(phone["languages"][0]) == list(board["languages"][0])
    assert list(phone["machine"]) == list(board["machine"])
    decode, prompt = phone["results"]
    assert (decode["test"], prompt["test"]) == ("tg64 @ d128", "pp512")
    assert (decode["throttled"], prompt["throttled"]) == (False, True)
    assert decode["median_ts"] == 11.0 and decode["top_celsius"] == 38.0
    assert decode["avg_ns"] == round(statistics.fmean(round(64e9 / r) for r in (10, 11, 12)))
    path = tmp_path / "phone.json"
    path.write_text(json.dumps(phone))
    assert read_results(path).title == "Made-up P1"


@pytest.mark.usefixtures("_phones_bundle")
def test_a_report_of_another_app_is_refused() -> None:
    with pytest.raises(AdbError, match="lacks 'avg_ts'"):
        phone_results({**APP_REPORT, "rows": [{**APP_ROW, "avg_ts": 1} | {"test": 1}, {
            name: value for name, value in APP_ROW.items() if name != "avg_ts"
        }]}, Path("x"))  # fmt: skip


def test_reading_is_as_fast_as_a_copy_reads() -> None:
    """Against a copy by the C library, which reads and writes as many bytes."""
    import ctypes
    import os
    import time

    size = 1 << 27
    source, target = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
    with pinned(sorted(os.sched_getaffinity(0))[:1]):
        seconds, found = [], 0.0
        for _ in range(5):  # in turns, since the machine may be busy
            start = time.perf_counter()
            ctypes.memmove(target, source, size)
            seconds.append(time.perf_counter() - start)
            found = max(found, read_bandwidth(1, size))
    copied = size / min(seconds)
    assert 0.7 * copied < found < 4 * copied, (found / 1e9, copied / 1e9)


def test_a_machine_survives_json(tmp_path: Path) -> None:
    measured = read_run(write_all(tmp_path)[0])
    again = read_run(write_all(tmp_path)[0])
    assert asdict(measured) == asdict(again)
    assert replace(measured, samples=()) != measured
