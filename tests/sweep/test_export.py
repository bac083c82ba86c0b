"""A sweep of real exports: bundles that run, a page, and nothing done twice."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command, command
from tests.conftest import NANO
from tinyaya.runtime import open_bundle

__all__ = ["command"]

_TEXT = f"""
out = "out"
recipes = ["int4", "int8"]
backends = ["onnx"]
[checkpoints]
nano = "{NANO}"
[languages]
few = ["sw", "en"]
[export]
context = 256
chunk = 64
verify = false
calibrate = false
[evaluate]
tokens = 4
sentences = 0
"""


def test_sweep_exports_judges_and_resumes(command: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "sweep.toml", tmp_path / "out"
    path.write_text(_TEXT, encoding="utf-8")
    first = command("sweep", path)
    assert first.code == 0, first.err
    assert "2 of 2 bundles are there" in first.out
    for recipe in ("int4", "int8"):
        bundle = open_bundle(out / f"nano-{recipe}-few-onnx")
        assert bundle.manifest.recipe["name"] == recipe
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "nano-int8-few-onnx" in page and "Swahili" in page and "<svg" in page
    assert not [word for word in ("http://", "https://", "src=") if word in _outside_svg(page)]

    before = {file: file.stat().st_mtime_ns for file in out.glob("nano-*/*")}
    (out / ".sweep/nano-int8-few-onnx/result.json").unlink()  # as after a kill before its end
    again = command("sweep", path, "--json")
    assert again.code == 0, again.err
    tasks = {row["task"]["recipe"]: row for row in json.loads(again.out)["tasks"]}
    assert 0 < tasks["int8"]["quality"]["mean_kl"] < 0.01
    assert tasks["int8"]["export_s"] == pytest.approx(0, abs=5)
    assert {file: file.stat().st_mtime_ns for file in out.glob("nano-*/*")} == before


def _outside_svg(page: str) -> str:
    """SVG names its namespaces by addresses that nobody reads."""
    return page[: page.index("<svg")] + page[page.rindex("</svg>") :]


def test_checkpoint_that_breaks_is_named(command: Command, tmp_path: Path) -> None:
    """The child's own refusal is what the sweep says of the task."""
    path, out = tmp_path / "sweep.toml", tmp_path / "out"
    path.write_text(_TEXT.replace('"int4", "int8"', '"fp32"'), encoding="utf-8")
    (out / "nano-fp32-few-onnx").mkdir(parents=True)
    (out / "nano-fp32-few-onnx" / "mine.txt").write_text("kept")
    result = command("sweep", path)
    assert result.code == 1
    assert "is a folder without manifest.json; it is not replaced" in result.out
    assert (out / "nano-fp32-few-onnx" / "mine.txt").exists()
