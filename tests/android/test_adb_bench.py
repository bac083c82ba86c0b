"""The adb driver against an adb of its own: what it pushes, starts, waits for and refuses."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tinyaya.benchmarks.speed.places.adb import PhoneBenchOptions, bench_on_phone, plain_name
from tinyaya.runtime.errors import AdbError

_REPORT = {"device": {"model": "x"}, "rows": [{"test": "prompt 128"}]}


class _Phone:
    """Answers as adb does; the report is there at the third look."""

    def __init__(self, *, installed: bool = True, report: object = _REPORT) -> None:
        self.calls: list[list[str]] = []
        self._installed, self._report, self._looks = installed, report, 0

    def __call__(self, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        self.calls.append(list(arguments))
        out, code = "", 0
        if arguments[:2] == ["shell", "pm"]:
            out, code = ("package:/x.apk", 0) if self._installed else ("", 1)
        if arguments[0] == "exec-out":
            self._looks += 1
            out, code = (
                (json.dumps(self._report), 0) if self._looks == 3 else ("cat: no such file", 1)
            )
        return subprocess.CompletedProcess(list(arguments), code, out, "")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my aya" / "onnx"
    folder.mkdir(parents=True)
    for name in ("manifest.json", "model.onnx"):
        (folder / name).write_text("{}")
    monkeypatch.setattr("tinyaya.benchmarks.speed.places.adb.open_bundle", lambda path: path)
    return folder


def _run(bundle: Path, phone: _Phone, **options: int | str) -> object:
    pause: Callable[[float], None] = lambda seconds: None  # noqa: E731
    return bench_on_phone(bundle, PhoneBenchOptions(**options), adb=phone, pause=pause)  # type: ignore[arg-type]


def test_pushes_starts_waits_and_reads(bundle: Path) -> None:
    phone = _Phone()
    assert _run(bundle, phone, prompts="64,128", rounds=3) == _REPORT
    pushed = [call for call in phone.calls if call[0] == "push"]
    assert [Path(call[2]).name for call in pushed] == ["manifest.json", "model.onnx"]
    assert all("/my-aya-onnx/" in call[3] for call in pushed)
    start = next(call[1] for call in phone.calls if call[1].startswith("am start"))
    for words in (
        "--es bundle my-aya-onnx",
        "--es prompts 64,128",
        "--es rounds 3",
        "--es run adb-my-aya-onnx-",
    ):
        assert words in start
    assert sum(call[0] == "exec-out" for call in phone.calls) == 3


def test_names_what_is_wrong(bundle: Path) -> None:
    with pytest.raises(AdbError, match="not on the phone"):
        _run(bundle, _Phone(installed=False))
    with pytest.raises(AdbError, match="no bundle"):
        _run(bundle, _Phone(report={"error": "there is no bundle"}))
    with pytest.raises(AdbError, match="no result after 5 s"):
        _run(bundle, _Phone(), wait_s=5)


@pytest.mark.parametrize(
    "options", [{"prompts": "1; rm"}, {"depths": ""}, {"rounds": 0}, {"cooldown": 601}]
)
def test_refuses_what_the_app_would_refuse(options: dict[str, int | str]) -> None:
    with pytest.raises(AdbError):
        PhoneBenchOptions(**options)  # type: ignore[arg-type]


def test_names_fit_the_app() -> None:
    assert plain_name(Path("/a/aya v1.2/onnx")) == "aya-v1-2-onnx"
