"""Running and exporting write nothing into a home and open no socket to the network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Watched = Callable[..., tuple[set[str], set[str]]]
TELEMETRY = "ORT_DISABLE_TELEMETRY"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What notices sockets, to be preloaded."""
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed: sockets are NOT watched")
    out = tmp_path_factory.mktemp("sockets") / "sockets.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", out, HERE / "sockets.c", "-ldl"], check=True)
    return out


@pytest.fixture
def watched(library: Path, tmp_path: Path) -> Watched:
    """Run Python code; files that are in its home then, and processes that asked for a socket."""

    def run(code: str) -> tuple[set[str], set[str]]:
        home, sockets = tmp_path / "home", tmp_path / "sockets"
        home.mkdir(), sockets.mkdir()
        quiet = {TELEMETRY, "CI", "XDG_CACHE_HOME", "XDG_DATA_HOME", "ORT_RUNNING_UNIT_TESTS"}
        environment = {key: value for key, value in os.environ.items() if key not in quiet}
        environment |= {"HOME": str(home), "LD_PRELOAD": str(library), "SOCKETS": f"{sockets}/s"}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
        files = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
        return files, {path.name for path in sockets.iterdir()}

    return run


def test_the_watch_notices(watched: Watched) -> None:
    code = "import pathlib, socket; socket.socket(); (pathlib.Path.home() / 'x').touch()"
    files, sockets = watched(code)
    assert files == {"x"} and len(sockets) == 1


def test_running_a_bundle(bundles: Mapping[str, Path], watched: Watched) -> None:
    code = (
        "from tinyaya.runtime import complete, open_bundle\n"
        f"complete(open_bundle({str(bundles['onnx'])!r}).session(), 'a', max_tokens=2)"
    )
    assert watched(code) == (set(), set())


def test_the_tokenizers_proof_of_an_export(bundles: Mapping[str, Path], watched: Watched) -> None:
    """The part of an export that loads onnxruntime-genai, which brings telemetry of its own."""
    code = (
        "import json, pathlib, tempfile\n"
        "from tinyaya.export.bundle.tokenizer_proof import prove_tokenizer\n"
        f"folder = pathlib.Path({str(bundles['onnx'])!r})\n"
        "golden = json.loads((folder / 'golden_tokens.json').read_text())\n"
        "with tempfile.TemporaryDirectory() as scratch:\n"
        "    prove_tokenizer(golden, folder, pathlib.Path(scratch), 'onnx')"
    )
    assert watched(code) == (set(), set())
