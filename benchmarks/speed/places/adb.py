"""Measures a bundle with the Android demo on the phone that adb sees."""

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyaya.runtime import open_bundle
from tinyaya.runtime.errors import AdbError

APP_PACKAGE = "org.tinyaya.demo"
_BENCH_ACTIVITY = f"{APP_PACKAGE}/.ui.BenchActivity"
_APP_FOLDER = f"/sdcard/Android/data/{APP_PACKAGE}/files"
_NOT_IN_FOLDER_NAMES = re.compile("[^A-Za-z0-9_-]+")

Adb = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True, kw_only=True)
class PhoneBenchOptions:
    """What the app measures, as its intent takes it; `wait_s`: seconds until it must be done."""

    prompts: str = "128,512"
    depths: str = "128,2000"
    decode: int = 64
    rounds: int = 5
    cooldown: int = 10
    seed: int = 0
    wait_s: int = 7200

    def __post_init__(self) -> None:
        """Refuse what the app would refuse, before gigabytes are pushed."""
        for name in ("prompts", "depths"):
            if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", getattr(self, name)):
                raise AdbError(
                    f"{name} is {getattr(self, name)!r}; expected numbers such as 128,512"
                )
        if self.decode < 1 or not 1 <= self.rounds <= 50 or not 0 <= self.cooldown <= 600:
            raise AdbError(
                "expected decode from 1, rounds from 1 to 50, and cooldown from 0 to 600"
            )


def run_adb(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run adb; raises AdbError if it is not installed."""
    try:
        return subprocess.run(["adb", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise AdbError("adb is not installed; install Android's platform tools") from error


def bench_on_phone(
    bundle: Path,
    options: PhoneBenchOptions,
    *,
    adb: Adb = run_adb,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The app's report of `bundle`; its `rows` have the columns of the speed benchmark.

    Files that the phone already has are not pushed again. Raises AdbError and BundleError.
    """
    open_bundle(bundle)
    name = plain_name(bundle)
    run = f"adb-{name}-{time.time_ns()}"
    if not _call(adb, "shell", "pm", "path", APP_PACKAGE).stdout.strip():
        raise AdbError(f"{APP_PACKAGE} is not on the phone; install the app of android_demo first")
    _call(adb, "shell", "mkdir", "-p", f"{_APP_FOLDER}/bundles/{name}")
    for file in sorted(path for path in bundle.iterdir() if path.is_file()):
        _call(adb, "push", "--sync", str(file), f"{_APP_FOLDER}/bundles/{name}/{file.name}")
    _call(adb, "shell", _start_command(name, run, options))
    return _wait_for(f"{_APP_FOLDER}/bench/{run}.json", options.wait_s, adb, pause)


def plain_name(bundle: Path) -> str:
    """A folder name that the app lists; a bundle `aya/onnx` is `aya-onnx`."""
    path = bundle.resolve()
    return _NOT_IN_FOLDER_NAMES.sub("-", f"{path.parent.name}-{path.name}").strip("-")[-60:]


def _start_command(name: str, run: str, options: PhoneBenchOptions) -> str:
    texts = {
        "bundle": name,
        "run": run,
        "prompts": options.prompts,
        "depths": options.depths,
        "decode": options.decode,
        "rounds": options.rounds,
        "cooldown": options.cooldown,
        "seed": options.seed,
    }
    words = [word for key, text in texts.items() for word in ("--es", key, str(text))]
    return shlex.join(["am", "start", "-n", _BENCH_ACTIVITY, *words])


def _wait_for(path: str, wait_s: int, adb: Adb, pause: Callable[[float], None]) -> dict[str, Any]:
    """Read the report once it is there; the app renames it into place."""
    interval_s = 5
    for _ in range(max(1, wait_s // interval_s)):
        found = adb(["exec-out", "cat", path])
        if found.returncode == 0 and found.stdout.startswith("{"):
            report: dict[str, Any] = json.loads(found.stdout)
            if "error" in report:
                raise AdbError(f"the app on the phone refused: {report['error']}")
            return report
        pause(interval_s)
    raise AdbError(f"no result after {wait_s} s; is the app still running? It writes {path}")


def _call(adb: Adb, *arguments: str) -> "subprocess.CompletedProcess[str]":
    done = adb(list(arguments))
    failed = done.returncode and arguments[:2] != ("shell", "pm")
    if failed or "Error" in done.stdout + done.stderr:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise AdbError(f"adb {' '.join(arguments[:2])} failed: {last}")
    return done
