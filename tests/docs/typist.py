"""A command or program as a page shows it in; run in a folder, what it printed out."""

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Shown
from tinyaya.export.cli import app as cli

# What is shown and not run, and why.
LEFT_OUT = {
    "make test": "is what runs this",
    "make demo": "exports and judges four bundles by 67 languages, for minutes",
    "python3 -m venv": "makes the environment that tests run in",
    ". .venv/bin/activate": "enters the environment that tests run in",
    "pip install": "makes the environment that tests run in",
    "hf": "needs a network and an accepted licence",
    "tinyaya-export push": "needs an account; tests/hub push to a hub of their own",
    "tinyaya-export run my-name/": "needs what was pushed; tests/hub run what they pushed",
    "python -m tinyaya.benchmarks.quality": "takes hours and llama.cpp",
    "adb push": "needs a phone",
    "tinyaya-export bench aya/onnx --host": "needs a board; tests/bench go to an sshd of their own",
    "tinyaya-export sweep": "makes 24 bundles; tests/sweep make fewer",
}
# What makes a command shorter, and otherwise the same.
LESS = {
    "export": ("--calibration-tokens", "256"),
    "sensitivity": ("--calibration-tokens", "256", "--tokens", "2"),
    "evaluate": ("--tokens", "3", "--sentences", "0"),
    "bench": (
        *("--prompts", "8", "--contexts", "0", "--tokens", "2"),
        *("--rounds", "1", "--cooldown", "0"),
    ),
}
_LONGEST_S = 300


class Typist:
    """Runs each text once: what it made is still there when a later page shows it again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: set[str] = set()

    def run(self, shown: Shown, capture: pytest.CaptureFixture[str]) -> None:
        """Run it in the folder; it must end well and, unless it writes a file, print something."""
        if shown.text in self._done:
            return
        code, out, errors = self._run(shown, capture)
        assert code == 0, f"{shown.page}: {shown.text}\n{errors}"
        silent = " --out " in shown.text  # says it in a file
        assert silent or out.strip(), f"{shown.page}: {shown.text} prints nothing"
        self._done.add(shown.text)

    def _run(self, shown: Shown, capture: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
        if shown.is_program:
            return self._process([sys.executable, "-c", shown.text])
        name, *words = shlex.split(shown.text, comments=True)
        if name == "python":
            return self._process([sys.executable, *words])
        assert name == "tinyaya-export", f"{shown.page}: nobody knows how to run {shown.text!r}"
        if words[0] in ("chat", "serve"):
            return _TALKING[words[0]](self, words)
        return _inside([*words, *LESS.get(words[0], ())], capture)

    def _process(self, call: Sequence[str], typed: str = "") -> tuple[int, str, str]:
        with self._started(call) as process:
            out, errors = process.communicate(typed, timeout=_LONGEST_S)
        return process.returncode, out, errors

    def _chat(self, words: Sequence[str]) -> tuple[int, str, str]:
        return self._process(
            [sys.executable, "-m", "tinyaya.export.cli.app", *words], "Habari?\n/stats\n"
        )

    def _serve(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Until it says that it is well; at a free port, whatever the page says."""
        at = words.index("--port") + 1
        words = [*words[:at], "0", *words[at + 1 :]]
        with self._started([sys.executable, "-m", "tinyaya.export.cli.app", *words]) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), process.communicate()[1]
            with urllib.request.urlopen(f"{address}/health", timeout=_LONGEST_S) as answer:
                said = answer.read().decode()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=_LONGEST_S)
        return process.returncode, said, errors

    @contextmanager
    def _started(self, call: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
        pipe = subprocess.PIPE
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            call, cwd=self._folder, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe
        ) as process:
            try:
                yield process
            finally:
                process.kill()  # one that has ended does not mind


_TALKING: dict[str, Callable[[Typist, Sequence[str]], tuple[int, str, str]]] = {
    "chat": Typist._chat,
    "serve": Typist._serve,
}


def _inside(words: Sequence[str], capture: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """In this process, which has torch loaded already."""
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["tinyaya-export", *words])
        capture.readouterr()
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    found = capture.readouterr()
    return code, found.out, found.err


def reason_left_out(shown: Shown) -> str | None:
    """Why it is not run; None where it is."""
    return next((why for start, why in LEFT_OUT.items() if shown.text.startswith(start)), None)
