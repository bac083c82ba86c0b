"""What is loaded when: importing is light, and ONNX needs no torch."""

import inspect
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tinyaya import runtime

ROOT = Path(__file__).parents[2]


def loaded(code: str) -> set[str]:
    """Modules that a new interpreter has loaded after `code`, by their two first names."""
    printing = "import sys; print(*{'.'.join(name.split('.')[:2]) for name in sys.modules})"
    command = [sys.executable, "-c", f"{code}\n{printing}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_loads_no_engine() -> None:
    names = loaded("import tinyaya.runtime")
    assert "tinyaya.runtime" in names
    assert not names & {
        "torch",
        "onnxruntime",
        "executorch",
        "jinja2",
        "tinyaya.export",
        "tinyaya.quantize",
    }


def test_an_onnx_bundle_runs_without_torch(bundles: Mapping[str, Path]) -> None:
    names = loaded(
        "from tinyaya import runtime\n"
        f"session = runtime.open_bundle({str(bundles['onnx'])!r}).session()\n"
        "runtime.complete(session, 'a', max_tokens=2)"
    )
    assert "onnxruntime" in names
    assert not names & {"torch", "executorch", "tinyaya.export", "tinyaya.quantize"}


def test_all_public_names_exist_and_are_documented() -> None:
    for name in runtime.__all__:
        value = getattr(runtime, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
