"""What `make dist` makes, and environments of their own that it is installed in."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that knows nothing of the source tree."""

    folder: Path

    def __call__(
        self, program: str, *arguments: object, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of it, in `cwd` or in the environment's own folder."""
        inherited = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
        return subprocess.run(
            [self.folder / "bin" / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd or self.folder,
            env={name: value for name, value in os.environ.items() if name not in inherited},
            check=False,
            stdin=subprocess.DEVNULL,
        )


def make_environment(folder: Path, *wanted: object) -> Environment:
    """Install `wanted` into a new environment, as docs/run.md says."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-compile", *map(str, wanted)], check=True)
    return Environment(folder)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """The wheel; its content is that of the source distribution."""
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def thin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The base install alone, without torch."""
    folder = tmp_path_factory.mktemp("thin") / "venv"
    return make_environment(folder, "--constraint", CONSTRAINTS, wheel)
