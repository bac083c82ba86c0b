"""Without torch: how soon the small .pte is open, how much memory it takes, and the wheel."""

import json
import platform
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import NATIVE_BUILD
from tinyaya.runtime.native.build import EXECUTORCH_VERSION, TARGETS, pack_wheel

ROOT = Path(__file__).parents[2]
OPEN = """
import json, sys, time
from tinyaya.runtime import open_bundle
session = open_bundle(sys.argv[1]).session(engine="native", threads=1)
seconds = time.process_time()  # since the process began; other processes are not judged
with open("/proc/self/smaps_rollup") as file:
    resident_kb = next(int(line.split()[1]) for line in file if line.startswith("Rss:"))
logits_V = session.prefill([2, 9])
print(json.dumps([seconds, resident_kb / 1000, int(logits_V.argmax()), "torch" in sys.modules]))
"""


def test_the_small_model_is_open_soon_and_takes_little(
    native: Path, bundles: Mapping[str, Path]
) -> None:
    runs = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", OPEN, bundles["executorch"]],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(native), "OMP_NUM_THREADS": "1"},
        )
        assert done.stderr == ""
        runs.append(json.loads(done.stdout))
    seconds, resident_mb, _, torch = zip(*runs, strict=True)
    assert min(seconds) < 0.5
    assert min(resident_mb) < 60
    assert not any(torch)


def test_the_wheel_is_for_any_python_and_brings_executorchs_licence(
    native: Path, tmp_path: Path
) -> None:
    target = TARGETS[platform.machine()]
    wheel = pack_wheel(native / "tinyaya_native", tmp_path, target)
    assert wheel.name.startswith("tinyaya_native-0.1.0-py3-none-manylinux_2_")
    with zipfile.ZipFile(wheel) as archive:
        assert "Meta Platforms" in archive.read("tinyaya_native/LICENSE.executorch").decode()
        metadata = archive.read("tinyaya_native-0.1.0.dist-info/METADATA").decode()
    assert "Requires-Dist" not in metadata
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target"]
    subprocess.run([*install, tmp_path / "site", wheel], check=True, capture_output=True)
    code = "import tinyaya_native as t, ctypes; ctypes.CDLL(str(t.LIBRARY)).tinyaya_kernels"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(tmp_path / "site")}
    )


def test_one_version_of_executorch_is_named_everywhere() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"executorch=={EXECUTORCH_VERSION}"' in text
    assert NATIVE_BUILD.is_relative_to(ROOT / "build")  # which git ignores
