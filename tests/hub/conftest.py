"""A Hub on loopback, and users whose commands ask it, each in a process of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.conftest import Result
from tests.hub.repositories import Repositories
from tests.hub.server import Hub, started
from tinyaya.export.source.checkpoint import Checkpoint

MODEL = "org/tiny"  # a checkpoint
BUNDLE = "org/aya"  # what is pushed
TOKEN = "writer"


@dataclass
class User:
    """Somebody with a home, who types commands in a folder; variables: of all of them."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.home / ".cache/huggingface/hub"

    def __call__(self, *arguments: object, **variables: str) -> Result:
        return self._run("-m", "tinyaya.export.cli.app", *map(str, arguments), **variables)

    def finds(self, source: str, **variables: str) -> Path:
        """The folder that an export would read, without the seconds that torch takes to load."""
        code = (
            "from tinyaya.export.source.hub import find_checkpoint\n"
            f"print(find_checkpoint({source!r}))"
        )
        found = self._run("-c", code, **variables)
        assert found.code == 0, found.err
        return Path(found.out.strip())

    def _run(self, *arguments: str, **variables: str) -> Result:
        call = [sys.executable, *arguments]
        kept = {
            key: text for key, text in os.environ.items() if not key.startswith(("HF_", "XDG_"))
        }
        own = {"HOME": str(self.home), "HF_HUB_DISABLE_XET": "1"}
        run = subprocess.run(
            call, env=kept | own | self.variables | variables, cwd=self.home, text=True,
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Result(run.returncode, run.stdout, run.stderr)


@pytest.fixture
def hub(tmp_path: Path, shallow: Checkpoint) -> Iterator[Hub]:
    """It has a checkpoint, among files that no export needs."""
    place = tmp_path / "repositories"
    shutil.copytree(shallow.folder, place / MODEL)
    for name in ("pytorch_model.bin", "model.gguf", "original/model.safetensors"):
        (place / MODEL / name).parent.mkdir(exist_ok=True)
        (place / MODEL / name).write_bytes(b"not needed")
    with started(hub := Hub(Repositories(place))):
        yield hub


@pytest.fixture
def user(tmp_path: Path, hub: Hub) -> User:
    home = tmp_path / "home"
    home.mkdir()
    return User(home, {"HF_ENDPOINT": hub.address})


@pytest.fixture(scope="module")
def bundle(shallow: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the local checkpoint; tests only read it."""
    from tinyaya.export.options import ExportOptions
    from tinyaya.export.pipeline import export_bundle

    target = tmp_path_factory.mktemp("local") / "bundle"
    return export_bundle(shallow.folder, target, ExportOptions(recipe="int8", preamble=""))[0].path


def told(result: Result, *words: str) -> None:
    """It is refused in one line with these words, after those of a download."""
    assert (result.code, result.out) == (2, ""), result.err
    (line,) = (row for row in result.err.splitlines() if not row.startswith("download "))
    assert line.startswith("error: ")
    for word in words:
        assert word in line, line
