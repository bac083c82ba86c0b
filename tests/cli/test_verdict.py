"""What `plan` begins with: whether an export fits, and how long it takes."""

from dataclasses import replace

import pytest

from tests.cli.conftest import Command
from tests.store import NANO
from tinyaya.export.backends import find_backend
from tinyaya.export.bundle.resolve import resolve_export
from tinyaya.export.options import ExportOptions
from tinyaya.export.plan import verdict
from tinyaya.export.plan.verdict import Verdict, about, export_seconds
from tinyaya.export.source.checkpoint import Checkpoint


def test_it_comes_first(command: Command) -> None:
    first, *_ = command("plan", NANO, "--no-calibrate").out.splitlines()
    assert first.startswith("fits: about ")
    assert "GB of memory (" in first and "GB of disk (" in first


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 second"), (80, "about 80 seconds"), (100, "about 1.7 minutes"),
     (360, "about 6 minutes"), (36_000, "about 10 hours")],
)  # fmt: skip
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize("lacking", ["memory_available_bytes", "disk_free_bytes"])
def test_what_does_not_fit_says_so(lacking: str) -> None:
    enough = Verdict(
        memory_bytes=10,
        memory_available_bytes=10,
        disk_bytes=10,
        disk_free_bytes=10,
    )
    assert enough.fits
    assert replace(enough, **{lacking: 9}).told(1).startswith("does not fit: about 1 second, ")


def test_time_grows_with_the_work_and_on_slower_machines(
    nano: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(*backends: str, **changed: object) -> float:
        export = resolve_export(nano, replace(ExportOptions(calibrate=False), **changed))
        rows = {name: find_backend(name) for name in backends}
        return export_seconds(export, rows)

    monkeypatch.setattr(verdict, "machine_rate", lambda: 200e9)
    alone = seconds("onnx")
    assert alone < seconds("onnx", calibrate=True)
    assert seconds("onnx", verify=False) < alone < seconds("onnx", "executorch")
    monkeypatch.setattr(verdict, "machine_rate", lambda: 40e9)
    assert seconds("onnx") == pytest.approx(5 * alone)


def test_the_machines_rate_is_measured() -> None:
    assert 1e9 < verdict.machine_rate() < 1e14
