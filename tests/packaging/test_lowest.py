"""The lowest versions that pyproject.toml allows, installed for themselves, do the work.

The exporter's own packages lie before those that the tests run with, so that torch is not
installed again.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import openai
import pytest

from tests.conftest import NANO
from tests.packaging.conftest import Environment, make_environment
from tests.packaging.test_requirements import EXACT, lowest
from tinyaya.benchmarks.server_load import start_server, stop_server

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def low(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The base install and the server, of the lowest versions."""
    folder = tmp_path_factory.mktemp("lowest") / "venv"
    return make_environment(folder, f"{wheel}[serve]", *lowest("grammar", "serve"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--prompt", "Hi", "--max-tokens", 8, "--regex", "[a-z]{3}"),
        ("verify",),
        ("chat",),
        ("inspect",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_bundle_runs(low: Environment, bundles: Mapping[str, Path], arguments: tuple) -> None:
    command, *options = arguments
    done = low("tinyaya-export", command, bundles["onnx"], *options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_server_answers(
    low: Environment, bundles: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(low.folder / "bin" / "python"))
    server, address = start_server(bundles["onnx"], "--threads", "1")
    with server:
        try:
            text = _answer(address)
        finally:
            status = stop_server(server)
    assert (len(text), status) == (3, 0)


def _answer(address: str) -> str:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model=client.models.list().data[0].id,
            messages=[{"role": "user", "content": "Habari?"}],
            max_tokens=8,
            stream=True,
            extra_body={"regex": "[a-z]{3}"},
        )
        return "".join(event.choices[0].delta.content or "" for event in stream)


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a process whose exporter has the lowest versions."""
    folder = tmp_path_factory.mktemp("exporter")
    wanted = [row for row in lowest("export") if row.partition("==")[0] not in EXACT]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-compile", "--target", folder, *wanted], check=True)
    return os.environ | {"PYTHONPATH": str(folder)}


def test_a_bundle_is_made_and_judged(exporter: Mapping[str, str], tmp_path: Path) -> None:
    def call(*arguments: object) -> None:
        command = [sys.executable, "-m", "tinyaya.export.cli.app", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=exporter, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    made = tmp_path / "made"
    call("export", NANO, "--out", made, "--languages", "sw,en", "--calibration-tokens", 256)
    quick = ("--tokens", 3, "--sentences", 0)
    call("evaluate", made, "--against", NANO, *quick, "--html", tmp_path / "page.html")


@pytest.mark.parametrize("tests", ["quantize/test_budget.py", "languages/test_scripts.py"])
def test_choices_of_bits_and_scripts_hold(exporter: Mapping[str, str], tests: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{tests}"]
    done = subprocess.run(command, capture_output=True, text=True, env=exporter, check=False)
    assert done.returncode == 0, done.stdout
