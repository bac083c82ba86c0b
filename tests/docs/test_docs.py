"""Commands that docs/run.md shows run, and the page of the API is that of the code."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime.api_page import page

ROOT = Path(__file__).parents[2]
RUN = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    tinyaya-export (.+)$", RUN, re.MULTILINE)


@pytest.fixture(scope="module")
def place(bundles: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle where the page has it, and the files that it names."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "aya").mkdir()
    shutil.copytree(bundles["onnx"], folder / "aya" / "onnx")
    (folder / "schema.json").write_text(json.dumps({"enum": ["yes", "no"]}))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command: str, place: Path) -> None:
    call = [sys.executable, "-m", "export.cli", *shlex.split(command)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        call,
        cwd=place,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        if command.startswith("serve"):
            assert process.stdout is not None
            assert process.stdout.readline().startswith("http://127.0.0.1:8080")
            process.send_signal(signal.SIGINT)
        out, errors = process.communicate("/help\n", timeout=120)
    assert process.returncode == 0, errors
    assert out.strip() or command.startswith(("serve", "chat"))


def test_commands_are_there() -> None:
    assert {command.split()[0] for command in COMMANDS} == {"run", "chat", "serve", "doctor"}


def test_the_page_of_the_api_is_that_of_the_code() -> None:
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == page(), "python -m runtime.api_page > docs/api.md"


@pytest.mark.parametrize("name", ["README.md", "docs/run.md", "docs/boards.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / name).parent / target).exists(), target
