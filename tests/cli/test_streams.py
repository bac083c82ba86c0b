"""Output that is closed, full or not UTF-8: one line and code 2, or 0 where the work is done."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import NANO
from tinyaya.export.source.checkpoint import Checkpoint

FULL = "the output cannot be written: No space left on device"


@pytest.fixture(scope="module")
def calls(
    bundles: Mapping[str, Path], lone: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, list[str]]:
    """Name -> arguments; the export goes to another place each time."""
    bundle, out = str(bundles["onnx"]), tmp_path_factory.mktemp("é") / "out"
    fast = ("--no-verify", "--recipe", "fp32", "--force")
    return {
        "inspect": ["inspect", bundle, "--json"],
        "run": ["run", bundle, "--prompt", "Habari", "--max-tokens", "3"],
        "plan": ["plan", str(NANO)],
        "variants": ["variants"],
        "help": ["--help"],
        "export": ["export", str(lone.folder), "--out", str(out), "--json", *fast],
    }


def shell(
    arguments: list[str], *, stdout: str = "", stderr: str = "", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """The command as a shell starts it, with streams that lead elsewhere."""
    to = f"{f'>{stdout}' if stdout else ''} {f'2>{stderr}' if stderr else ''}"
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {to}', "sh", sys.executable, "-m", "tinyaya.export.cli.app",
         *arguments],
        capture_output=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["inspect", "run", "plan", "variants", "help", "export"])
def test_a_full_output_is_one_line(calls: Mapping[str, list[str]], name: str) -> None:
    done = shell(calls[name], stdout="/dev/full")
    assert (done.returncode, done.stderr.decode()) == (2, f"error: {FULL}\n")


@pytest.mark.parametrize("name", ["inspect", "run", "plan"])
def test_a_closed_output_lets_the_work_be_done(calls: Mapping[str, list[str]], name: str) -> None:
    done = shell(calls[name], stdout="&-")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_output_is_not_where_files_go(
    calls: Mapping[str, list[str]], bundles: Mapping[str, Path], tmp_path: Path
) -> None:
    """The first file opened would be number 1, and libraries would print into it."""
    saved = tmp_path / "session"
    done = shell([*calls["run"], "--save", str(saved)], stdout="&-", stderr="&-")
    assert done.returncode == 0
    again = shell([*calls["run"], "--load", str(saved)])
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("place", ["/dev/full", "&-"])
def test_errors_that_nobody_can_be_told_keep_their_code(place: str, tmp_path: Path) -> None:
    assert shell(["inspect", str(tmp_path)], stderr=place).returncode == 2


@pytest.mark.parametrize("place", ["/dev/full", "&-"])
def test_notes_that_nobody_can_be_told_end_no_work(
    calls: Mapping[str, list[str]], place: str
) -> None:
    done = shell([*calls["plan"], "--languages", "sw", "--json"], stderr=place)
    assert done.returncode == 0
    assert json.loads(done.stdout)["bundle_bytes"] > 0


def test_what_ascii_lacks_is_escaped(
    calls: Mapping[str, list[str]], bundles: Mapping[str, Path]
) -> None:
    done = shell(calls["variants"], PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and rb"\u" in done.stdout, done.stderr
    done = shell(calls["inspect"], PYTHONIOENCODING="ascii")
    manifest = (bundles["onnx"] / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(done.stdout) == json.loads(manifest)
    done = shell(calls["export"], PYTHONIOENCODING="ascii")
    (row,) = json.loads(done.stdout)
    assert "é" in row["path"] and done.returncode == 0


def test_a_reader_that_leaves_is_no_error(calls: Mapping[str, list[str]]) -> None:
    command = f"{sys.executable} -m tinyaya.export.cli.app plan {NANO} | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.stderr == b""
