"""Installed, nothing of ours stands in the way of a user's own folders, nor they in ours."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.packaging.conftest import Environment
from tests.packaging.test_distribution import PARTS


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A user's folder, whose packages are called as our parts are."""
    for part in PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "__init__.py").write_text("OWNER = 'the user'\n")
    return tmp_path


def test_both_are_imported(thin: Environment, work: Path) -> None:
    code = (
        f"from tinyaya.runtime import open_bundle; import {', '.join(PARTS)}\n"
        f"print(open_bundle.__module__, *(part.OWNER for part in ({', '.join(PARTS)})))"
    )
    done = thin("python", "-c", code, cwd=work)
    assert done.stdout.strip() == f"tinyaya.runtime.bundle{' the user' * len(PARTS)}", done.stderr


def test_commands_run_there(thin: Environment, work: Path, bundles: Mapping[str, Path]) -> None:
    options = ("--prompt", "Hi", "--max-tokens", 1, "--threads", 1)
    done = thin("tinyaya-export", "run", bundles["onnx"], *options, cwd=work)
    assert done.returncode == 0, done.stderr
    done = thin("python", "-m", "tinyaya.benchmarks.speed", "--help", cwd=work)
    assert done.returncode == 0, done.stderr
