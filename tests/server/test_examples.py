"""The programs in examples/ run as they stand."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.serial

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs(name: str, bundles: Mapping[str, Path], address: str) -> None:
    argument = address if name == "openai_client.py" else str(bundles["onnx"])
    found = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), argument],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip()


def test_there_are_five() -> None:
    assert len(EXAMPLES) == 5
