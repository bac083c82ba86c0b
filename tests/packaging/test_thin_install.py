"""The base install, without torch: the wheel of `make dist` in an environment of its own."""

import json
import resource
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import NANO
from tests.packaging.conftest import Environment


def test_base_install_has_no_torch(thin: Environment) -> None:
    assert "No module named 'torch'" in thin("python", "-c", "import torch").stderr


@pytest.mark.serial
def test_runtime_is_imported_quickly(thin: Environment) -> None:
    """In time of the thread that waits: numpy's others spin meanwhile, on a busy machine longer."""
    code = (
        "import time; t = time.thread_time(); import tinyaya.runtime; print(time.thread_time() - t)"
    )
    assert min(float(thin("python", "-c", code).stdout) for _ in range(3)) < 0.2


@pytest.mark.serial
def test_run_starts_quickly(thin: Environment, bundles: Mapping[str, Path]) -> None:
    """In time of the processor: what else runs on the machine is not judged."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        options = ("--prompt", "Hi", "--max-tokens", 1, "--threads", 1)
        assert thin("tinyaya-export", "run", bundles["onnx"], *options).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 1


def test_chat_and_doctor_need_nothing_more(thin: Environment, bundles: Mapping[str, Path]) -> None:
    assert "torch          not installed" in thin("tinyaya-export", "doctor").stdout
    assert thin("tinyaya-export", "chat", bundles["onnx"]).returncode == 0  # no lines, no answers


def test_bench_and_plan_need_nothing_more(thin: Environment, bundles: Mapping[str, Path]) -> None:
    small = ("--prompts", 8, "--contexts", 0, "--tokens", 2, "--rounds", 1, "--cooldown", 0)
    files = ("--out", "b.json", "--html", "b.html", "--csv", "b.csv", "--json")
    found = thin("tinyaya-export", "bench", bundles["onnx"], *small, *files)
    assert found.returncode == 0, found.stderr
    (result,) = json.loads(found.stdout)
    assert [row["test"] for row in result["results"]] == ["pp8", "tg2"]
    plot = thin("tinyaya-export", "bench", bundles["onnx"], "--plot", "b.png")
    assert "--plot needs the package matplotlib" in plot.stderr
    planned = thin("tinyaya-export", "plan", bundles["onnx"], "--device", "pi5")
    assert "predicted, not measured" in planned.stdout


@pytest.mark.parametrize(
    ("command", "options", "package"),
    [("serve", (), "tinyaya-export[serve]"), ("run", ("--prompt", "x", "--regex", "a"), "llguid")],
)
def test_extras_are_named(
    thin: Environment, bundles: Mapping[str, Path], command: str, options: tuple, package: str
) -> None:
    result = thin("tinyaya-export", command, bundles["onnx"], *options)
    assert result.returncode == 2
    assert package in result.stderr and len(result.stderr.splitlines()) == 1


def test_onnx_bundle_runs_without_torch(thin: Environment, bundles: Mapping[str, Path]) -> None:
    options = ("--prompt", "All human beings", "--max-tokens", 8, "--json", "--temperature", 0)
    result = thin("tinyaya-export", "run", bundles["onnx"], *options)
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["token_ids"]) == 8


def test_onnx_bundle_is_verified_without_torch(
    thin: Environment, bundles: Mapping[str, Path]
) -> None:
    result = thin("tinyaya-export", "verify", bundles["onnx"], "--json")
    assert result.returncode == 0, result.stderr
    checks = {check["name"]: check["ok"] for check in json.loads(result.stdout)["checks"]}
    assert set(checks) == {
        "files",
        "golden token ids",
        "program repeats its probe",
        "preamble is as if it were fed",
    }
    assert all(checks.values())


@pytest.mark.parametrize(
    "arguments", [("export", NANO, "--out", "out"), ("plan", NANO), ("demo", NANO)]
)
def test_commands_that_need_the_extra_say_so(thin: Environment, arguments: tuple) -> None:
    result = thin("tinyaya-export", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert "pip install 'tinyaya-export[export]'" in result.stderr


def test_executorch_bundle_says_what_it_needs(
    thin: Environment, bundles: Mapping[str, Path]
) -> None:
    result = thin("tinyaya-export", "run", bundles["executorch"], "--prompt", "Hi")
    assert result.returncode == 2
    assert "pip install" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_base_install_is_small(thin: Environment, bundles: Mapping[str, Path]) -> None:
    """With the bytecode of what was used: run alone, this runs a bundle first."""
    test_onnx_bundle_is_verified_without_torch(thin, bundles)
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    folder = Path(thin("python", "-c", code).stdout.strip())
    tools = ("pip", "setuptools", "_distutils_hack", "pkg_resources")  # of the environment
    sizes = {
        file: file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and not file.relative_to(folder).parts[0].startswith(tools)
    }
    assert any(file.parent.name == "__pycache__" for file in sizes)
    assert 100e6 < sum(sizes.values()) < 200e6, sum(sizes.values())
