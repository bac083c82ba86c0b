"""`optimum-cli export tinyaya`, where optimum is installed."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import NANO
from tinyaya.runtime import open_bundle

ROOT = Path(__file__).parents[2]
REGISTER = ROOT / "export" / "optimum_register" / "register_tinyaya.py"


@pytest.fixture
def optimum(tmp_path: Path) -> list[str]:
    """The command, with its file where an install puts it."""
    try:
        found = find_spec("optimum.commands.optimum_cli")
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip("optimum is not installed; pip install optimum")
    if not installed():
        place = tmp_path / "site" / "optimum" / "commands" / "register"
        place.mkdir(parents=True)
        shutil.copy(REGISTER, place)
    return [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "tinyaya"]


def installed() -> bool:
    """Whether the file is there, as an install of today's project puts it."""
    try:
        return find_spec("optimum.commands.register.register_tinyaya") is not None
    except ModuleNotFoundError:
        return False


def run(command: list[str], tmp_path: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_it_exports(optimum: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [str(NANO), "--out", str(out), "--recipe", "int8", "--no-verify"]
    found = run([*optimum, *options], tmp_path)
    assert found.returncode == 0, found.stderr
    assert open_bundle(out).manifest.engine == "onnx"


def test_bad_use_is_one_line(optimum: list[str], tmp_path: Path) -> None:
    found = run([*optimum, str(tmp_path), "--out", str(tmp_path / "out")], tmp_path)
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("error: ")
