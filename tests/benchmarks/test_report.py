"""A killed run goes on where it stopped; the page and its bars say what the samples say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.benchmarks.conftest import FACTS, MACHINE, sample
from tinyaya.benchmarks.bars import judge
from tinyaya.benchmarks.report import render, report
from tinyaya.benchmarks.speed.any_file import read_run
from tinyaya.benchmarks.speed.contender import Job, Sample
from tinyaya.benchmarks.speed.measure import continued, measure_speed
from tinyaya.benchmarks.speed.options import SpeedOptions
from tinyaya.benchmarks.speed.run_file import Measured, StoreError, save
from tinyaya.runtime.progress import Silent

OPTIONS = SpeedOptions(
    bundles=(Path("slow"), Path("fast")),
    peers=(Path("q4.gguf"),),
    prompts=(128, 512),
    contexts=(128, 8000),
    threads=(1, 2),
    rounds=3,
    long_rounds=3,
    tokens=16,
    seed=0,
)
LABELS = {"slow": "onnx int4", "fast": "onnx int4 kv int8", "q4.gguf": "llama.cpp Q4_0"}
SPEEDS = {"slow": (10.0, 9.0), "fast": (13.0, 7.0), "q4.gguf": (10.0, 5.0)}
RSS = {"slow": 60, "fast": 80, "q4.gguf": 100}


def made(job: Job) -> Sample:
    """What a process would have measured."""
    near, deep = SPEEDS[job.path]
    facts = replace(
        FACTS, label=LABELS[job.path], engine="llama.cpp" if job.path == "q4.gguf" else "onnx"
    )
    rates = {"pp128": 100.0, "pp512": 50.0, "tg16 @ d128": near, "tg16 @ d8000": deep}
    return sample(job.path, rates, RSS[job.path], job.threads, facts)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def _contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = type("M", (), {"limits": type("L", (), {"context": 8192})})
    monkeypatch.setattr("tinyaya.benchmarks.speed.options.read_manifest", lambda folder: manifest)


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    start = Measured(options=OPTIONS, machine=MACHINE)
    return measure_speed(start, tmp_path / "whole.json", Silent(), made)


@pytest.mark.parametrize("survived", [1, 7])
def test_killed_run_goes_on_where_it_stopped(
    survived: int, tmp_path: Path, measured: Measured
) -> None:
    out, ran = tmp_path / "r.json", []

    def dies(job: Job) -> Sample:
        if len(ran) == survived:
            raise KilledError
        ran.append((job.path, job.threads))
        return made(job)

    with pytest.raises(KilledError):
        measure_speed(Measured(options=OPTIONS, machine=MACHINE), out, Silent(), dies)
    assert json.loads(out.read_text())["complete"] is False
    begun = continued(out, OPTIONS, replace(MACHINE, bandwidths=()))
    assert [(one.path, one.threads) for one in begun.samples] == ran
    (out.with_suffix(".states")).mkdir()
    done = measure_speed(begun, out, Silent(), made)
    assert done == measured == read_run(out)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "r"] == ["r.json"]
    assert out.read_text() == (tmp_path / "whole.json").read_text()


def test_another_runs_results_are_refused(tmp_path: Path, measured: Measured) -> None:
    out = tmp_path / "r.json"
    save(measured, out)
    with pytest.raises(StoreError, match="begun with seed 0, this run has 1; give the same"):
        continued(out, replace(OPTIONS, seed=1), MACHINE)
    with pytest.raises(StoreError, match="begun with cpu test, this run has other"):
        continued(out, OPTIONS, replace(MACHINE, cpu="other"))
    with pytest.raises(StoreError, match="slow has changed since the run began"):
        measured.plus(sample("slow", {}, facts=replace(FACTS, model_bytes=5)))
    out.write_text("{}")
    with pytest.raises(StoreError, match="does not hold results"):
        read_run(out)


def test_bars_take_the_best_bundle_of_an_engine_row_by_row(measured: Measured) -> None:
    found = {bar.what: (bar.bundle, bar.value, bar.verdict) for bar in judge(measured)}
    assert found == {
        "decode at context 128, to llama.cpp Q4_0": ("onnx int4 kv int8", 1.3, "reached"),
        "decode at context 8000, to llama.cpp Q4_0": ("onnx int4", 1.8, "reached"),
        "prefill of 512, to llama.cpp Q4_0": ("onnx int4", 1.0, "missed"),
        "decode at context 8000, to its own at 128": ("onnx int4", 0.9, "reached"),
        "bytes read a token x decode at context 128, to read bandwidth": (
            "onnx int4 kv int8",
            pytest.approx((900 + 32 + 4 * 137) * 13 / 2e6),
            "missed",
        ),
        "resident memory, to llama.cpp Q4_0": ("onnx int4", 0.6, "reached"),
    }


def test_without_a_peer_bars_are_not_measured(tmp_path: Path) -> None:
    options = replace(OPTIONS, peers=(), contexts=(128,))
    start = Measured(options=options, machine=MACHINE)
    bars = judge(measure_speed(start, tmp_path / "r.json", Silent(), made))
    verdicts = {bar.what.split(",")[0]: bar.verdict for bar in bars}
    assert verdicts["prefill of 512"] == verdicts["resident memory"] == "not measured"


def test_page_has_what_was_measured(measured: Measured) -> None:
    page = render(measured, "speed.png")
    assert "**Weights are random**" in page
    assert "![" in page
    assert "](speed.png)" in page
    assert "Unfinished" not in page
    line = "| context 8000 | 2 | onnx int4 kv int8 | 7 [7, 7] | 3 | 1.40 | 0 | 12% |"
    assert line in page
    assert "--bundle slow --bundle fast --peer q4.gguf" in page
    assert "--threads 1,2 --rounds 3" in page
    assert "random" not in render(measured, None, trained=True)
    partial = replace(measured, samples=measured.samples[:5])
    assert "**Unfinished**: 5 of 18" in render(partial, None)


def test_equal_labels_are_told_apart_by_their_paths(measured: Measured) -> None:
    facts = {"facts": replace(FACTS, label="onnx int4")}
    samples = tuple(
        one if one.path == "q4.gguf" else replace(one, **facts) for one in measured.samples
    )
    page = render(replace(measured, samples=samples), None)
    assert "onnx int4 (slow)" in page
    assert "onnx int4 (fast)" in page


def test_command_writes_page_and_picture(tmp_path: Path, measured: Measured) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra bench")
    save(measured, tmp_path / "r.json")
    app = typer.Typer()
    app.command()(report)
    page, plot = tmp_path / "R.md", tmp_path / "plots" / "speed.png"
    plot.parent.mkdir()
    arguments = [str(tmp_path / "r.json"), "--out", str(page), "--plot", str(plot)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "](plots/speed.png)" in page.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")
    save(replace(measured, samples=()), tmp_path / "r.json")
    assert CliRunner().invoke(app, arguments).exit_code == 2
