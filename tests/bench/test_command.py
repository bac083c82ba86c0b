"""`tinyaya-export bench` as a person calls it: here, on a phone, and wrongly."""

import json
import os
from pathlib import Path

import pytest

from tests.bench.made_results import write_all
from tests.bench.test_results import APP_REPORT, APP_ROW
from tests.cli.conftest import Command

SMALL = ("--prompts", "8,16", "--contexts", "0,64,9000", "--tokens", 2, "--cooldown", 0)
ADB = """#!{python}
import sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    print(*words, file=log)
if words[:2] == ["shell", "pm"]:
    print("package:/x.apk")
if words[0] == "exec-out":
    print(open({report!r}).read())
"""


def test_it_measures_and_writes_everything(bundle: Path, tmp_path: Path, command: Command) -> None:
    files = {name: tmp_path / f"r.{name}" for name in ("json", "html", "csv")}
    options = [part for name in ("html", "csv") for part in (f"--{name}", files[name])]
    call = ("bench", bundle, *SMALL, "--rounds", 2, "--threads", "1", "--out", files["json"])
    found = command(*call, *options)
    assert found.code == 0, found.err
    result = json.loads(files["json"].read_text())
    assert result["complete"]
    assert [row["test"] for row in result["results"]] == ["pp8", "pp16", "tg2", "tg2 @ d64"]
    assert "context is" in result["skipped"][str(bundle)]["tg2 @ d9000"]
    assert {row["code"] for row in result["languages"]} >= {"en", "sw", "my"}
    assert files["csv"].read_text().count("\n") == 5
    assert "characters a second" in found.out
    assert len(result["samples"]) == 2
    assert all(one["conditions"]["seconds"] > 0 for one in result["samples"])

    again = command(*call)
    assert again.code == 2
    assert "--resume goes on with it, --force begins anew" in again.err
    before = files["json"].read_text()
    assert command(*call, "--resume").code == 0
    assert files["json"].read_text() == before
    other = command(*call, "--resume", "--seed", 1)
    assert (other.code, len(other.err.splitlines())) == (2, 1)
    assert "begun with seed 0, this run has 1" in other.err


def test_a_phone_is_measured_by_adb(
    bundle: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    log, report, out = tmp_path / "log", tmp_path / "report.json", tmp_path / "phone.json"
    report.write_text(json.dumps(APP_REPORT))
    adb = tmp_path / "bin" / "adb"
    adb.parent.mkdir()
    adb.write_text(ADB.format(python=sys.executable, log=str(log), report=str(report)))
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{adb.parent}:{os.environ['PATH']}")
    html = tmp_path / "p.html"
    call = ("bench", bundle, "--adb", "--decode", 64, "--depths", 128, "--out", out)
    found = command(*call, "--html", html)
    assert found.code == 0, found.err
    rows = json.loads(out.read_text())["results"]
    assert [(row["test"], row["median_ts"]) for row in rows] == [
        ("tg64 @ d128", APP_ROW["median_ts"]),
        ("pp512", APP_ROW["median_ts"]),
    ]
    assert "Made-up P1" in html.read_text() and "throttled" in found.out
    started = next(line for line in log.read_text().splitlines() if "am start" in line)
    assert "--es decode 64" in started and "--es depths 128" in started
    assert command("bench", "--compare", out, *write_all(tmp_path)).code == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--prompts", "8,x"), "expected whole numbers"),
        (("--rounds", 0), "must be at least 1"),
        (("--cooldown", -1), "cool-down from 0"),
        (("--cores", "999"), "are not all there"),
        (("--cores", "fast"), "expected big, all"),
        (("--threads", "1,"), None),
        (("--threads", "0"), "must be at least 1"),
        (("--adb", "--host", "pi"), "exclude each other"),
        (("--adb", "--plot", "x.png"), "exclude each other"),
        (("--html", "none/x.html"), "none is no folder"),
        (("--host", "-oProxyCommand=x"), "expected USER@HOST"),
    ],
)
def test_wrong_use_is_one_line(
    wrong: tuple[object, ...],
    message: str | None,
    bundle: Path,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinyaya.benchmarks.speed.places.local.measure_bandwidths", lambda *_: ())
    found = command("bench", bundle, *SMALL, "--rounds", 1, "--out", "o.json", *wrong)
    if message is None:
        assert found.code == 0
        return
    assert (found.code, len(found.err.splitlines())) == (2, 1), found.err
    assert message in found.err
    assert not (tmp_path / "o.json").exists()


def test_no_bundle_and_no_results_are_one_line(tmp_path: Path, command: Command) -> None:
    found = command("bench", tmp_path, "--out", tmp_path / "o.json")
    assert (found.code, len(found.err.splitlines())) == (2, 1)
    assert "manifest.json" in found.err
    found = command("bench", "--compare", tmp_path / "none.json")
    assert (found.code, len(found.err.splitlines())) == (2, 1)


def test_an_emulator_is_not_measured(
    bundle: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tinyaya.benchmarks.speed.conditions.machine.is_emulated", lambda root, machine: True
    )
    found = command("bench", bundle, *SMALL, "--out", tmp_path / "o.json")
    assert found.code == 2
    assert "an emulator's speed is no board's" in found.err


def test_a_bundle_can_be_planned_for_a_device(bundle: Path, command: Command) -> None:
    found = command("plan", bundle, "--device", "pi5")
    assert found.code == 0
    assert "on Raspberry Pi 5, predicted, not measured:" in found.out
    raw = command("plan", bundle, "--device", "pi5", "--json").json
    assert raw["prediction"]["predicted"] is True
    assert raw["bundle_bytes"] == sum(
        path.stat().st_size for path in bundle.iterdir() if path.name != "manifest.json"
    )
    unknown = command("plan", bundle, "--device", "toaster")
    assert (unknown.code, len(unknown.err.splitlines())) == (2, 1)
