"""Bad input: one line that says what was found and the way out, exit code 2, target untouched."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Result, content
from tests.cli.killed_exports import AFTER, BEFORE, BETWEEN, PLACES, out_folder
from tests.conftest import NANO
from tests.failpoints import Place
from tinyaya.export.backends.onnx import backend, decoder
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import open_bundle


def assert_refused(result: Result, *words: str, code: int = 2) -> None:
    assert result.code == code
    assert result.out == ""
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, result.err
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--recipe", "int3"), ("int3", "fp32, int8, int4-small, int4, int4-quality", "x.json")),
        (("--recipe", "absent.json"), ("absent.json", "expected a recipe in JSON")),
        (("--calibration", "tests"), ("tests holds no <language>.txt", "sw.txt")),
        (("--calibration-tokens", 0), ("tokens is 0",)),
        (("--budget", "1 MB"), ("the budget is 1.00 MB", "at least 5.7", "raise the budget")),
        (("--budget", "small"), ("'small' is no size", "2.0GB")),
        (("--budget", "6MB", "--losses", "absent.json"), ("absent.json", "sensitivity --out")),
        (("--backend", "tflite"), ("tflite", "onnx, executorch, both")),
        (("--context", 32), ("context 32", "chunk 128", "--context")),
        (("--context", 4096), ("4096", "max_position_embeddings 1024")),
        (("--chunk", 0), ("chunk is 0",)),
        (("--preamble", "@absent.txt"), ("absent.txt", "expected a file of UTF-8 text")),
        (("--preamble", "free and equal " * 99), ("preamble", "expected at most 128")),
    ],
)
def test_export_refuses_options(
    command: Command, tmp_path: Path, options: tuple, words: tuple
) -> None:
    assert_refused(command("export", NANO, "--out", tmp_path / "out", *options), *words)
    assert list(tmp_path.iterdir()) == []


def test_export_needs_force_to_replace(
    command: Command, tmp_path: Path, bundles: Mapping[str, Path]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(bundles["onnx"], out)
    before = (out / "manifest.json").read_bytes()
    assert_refused(command("export", NANO, "--out", out), "exists", "--force")
    assert (out / "manifest.json").read_bytes() == before
    assert (
        command("export", NANO, "--out", out, "--force", "--no-verify", "--no-calibrate").code == 0
    )
    assert (out / "manifest.json").read_bytes() != before


def test_export_never_replaces_a_folder_that_is_no_bundle(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    assert_refused(command("export", NANO, "--out", tmp_path, "--force"), "without manifest.json")
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_export_to_a_place_that_cannot_be_written(
    command: Command, lone: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    export = ("export", lone.folder, "--no-calibrate", "--out")
    below = command(*export, tmp_path / "file" / "out")
    assert_refused(below, "is a file, so", "choose another place")
    assert_refused(command(*export, "/proc/out"), "/proc", "choose another")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_export_refuses_when_the_disk_will_not_suffice(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1000))
    assert_refused(
        command("export", NANO, "--out", tmp_path / "out", "--no-calibrate"), "disk", "GB", "free"
    )


def test_export_refuses_when_memory_will_not_suffice(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyaya.export.plan.verdict.available_memory_bytes", lambda: 1000)
    assert_refused(
        command("export", NANO, "--out", tmp_path / "out", "--no-calibrate"), "memory", "GB"
    )


def test_disk_full_in_the_middle_leaves_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(model: object, folder: Path) -> None:
        (folder / "model.onnx.data").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backend, "_save", full)
    assert_refused(
        command("export", NANO, "--out", tmp_path / "out", "--no-calibrate"), "disk", "full"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_program_is_not_published(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = decoder.rope_table
    monkeypatch.setattr(
        decoder, "rope_table", lambda context, size, theta: right(context, size, theta / 2)
    )
    result = command("export", NANO, "--out", tmp_path / "out", "--no-calibrate")
    assert_refused(result, "differs from the quantized model", code=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def killed(
    lone: Checkpoint, bundles: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Where exports over a bundle died, each at another place."""
    folder = tmp_path_factory.mktemp("killed")
    module = [sys.executable, "-m", "tests.cli.killed_exports"]
    run = subprocess.run(
        [*module, lone.folder, bundles["onnx"], folder], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_killed_export_leaves_the_old_bundle(
    killed: Path, bundles: Mapping[str, Path], place: Place
) -> None:
    out, old = out_folder(killed, place), content(bundles["onnx"])
    if place in BEFORE:
        assert content(out) == old
    if place == BETWEEN:
        assert not out.exists()
    if place in (BETWEEN, AFTER):
        (aside,) = out.parent.glob(".out.old-*")
        assert content(aside) == old
    if place == AFTER:
        assert open_bundle(out).manifest.recipe["name"] == "int8"  # checks every hash


@pytest.mark.thorough
@pytest.mark.parametrize("kill", range(8))
def test_export_killed_at_random_leaves_the_old_bundle(
    bundles: Mapping[str, Path], tmp_path: Path, kill: int
) -> None:
    out, delay_s = tmp_path / "out", random.SystemRandom().uniform(0.5, 12)
    shutil.copytree(bundles["onnx"], out)
    arguments = ["export", str(NANO), "--out", str(out), "--force", "--recipe", "int8"]
    process = subprocess.Popen([sys.executable, "-m", "tinyaya.export.cli.app", *arguments])
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if out.exists():
        open_bundle(out)  # checks every hash


def test_next_export_clears_what_a_killed_one_left(command: Command, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftovers = [tmp_path / f".out.{kind}-{dead.pid}" for kind in ("partial", "old")]
    for leftover in leftovers:
        leftover.mkdir()
    alive = tmp_path / f".out.partial-{os.getppid()}"
    alive.mkdir()
    assert (
        command("export", NANO, "--out", tmp_path / "out", "--no-verify", "--no-calibrate").code
        == 0
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", alive.name])


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", ("empty",)),
        ("word " * 4000, ("1024",)),
        ("bad \udcff byte", ("UTF-8",)),
    ],
)
def test_run_refuses_prompts(
    command: Command, bundles: Mapping[str, Path], prompt: str, words: tuple
) -> None:
    assert_refused(command("run", bundles["onnx"], "--prompt", prompt), *words)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--temperature", -1), "temperature"),
        (("--top-p", 0), "top_p"),
        (("--top-k", -2), "top_k"),
        (("--max-tokens", 0), "max_tokens"),
        (("--threads", 0), "threads"),
    ],
)
def test_run_refuses_options(
    command: Command, bundles: Mapping[str, Path], options: tuple, word: str
) -> None:
    assert_refused(command("run", bundles["onnx"], "--prompt", "Hi", *options), word)


def test_commands_refuse_a_folder_that_is_no_bundle(command: Command, tmp_path: Path) -> None:
    for name in ("inspect", "verify"):
        assert_refused(command(name, tmp_path), "manifest.json")
    assert_refused(command("run", tmp_path, "--prompt", "Hi"), "manifest.json")


def test_verify_refuses_another_checkpoint(
    command: Command, bundles: Mapping[str, Path], tmp_path: Path
) -> None:
    assert_refused(command("verify", bundles["onnx"], "--against", tmp_path), "config.json")
    options = ("--against", NANO, "--tokens", 1_000_000)
    assert_refused(command("verify", bundles["onnx"], *options), "tokens is 1000000", "1 to 1024")


@pytest.mark.parametrize(
    "arguments",
    [
        ("sensitivity", NANO, "--out"),
        ("sensitivity", NANO, "--out", "losses.json", "--plot"),
        ("recipe", "--budget", "6MB", "--source", NANO, "--out"),
        ("evaluate", "absent", "--against", NANO, "--html"),
        ("bench", "absent", "--out"),
        ("bench", "absent", "--csv"),
        ("run", "absent", "--prompt", "Hi", "--save"),
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-1:]),
)
def test_files_that_cannot_be_written_are_refused_before_the_work(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple
) -> None:
    """Nothing else of what was asked for is there, so all else would be refused later."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("link").symlink_to("absent/x")
    assert_refused(command(*arguments, "."), "is a folder")
    assert_refused(command(*arguments, "file/x"), "file is no folder; expected one for x")
    assert_refused(command(*arguments, "link"), "absent is no folder")
    assert_refused(command(*arguments, "/proc/x"), "/proc/x cannot be written", "another place")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_demo_refuses_before_the_first_export(command: Command, tmp_path: Path) -> None:
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "onnx").write_text("precious")
    assert_refused(command("demo", NANO, "--out", tmp_path), "onnx is a file")


def test_unknown_option_is_wrong_use(command: Command) -> None:
    assert command("run", "--no-such-option").code == 2
