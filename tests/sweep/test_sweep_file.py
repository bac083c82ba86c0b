"""What a sweep file may say; everything wrong is one line, before any work."""

from pathlib import Path

import pytest

from tests.cli.conftest import Command, command
from tests.cli.test_bad_use import assert_refused
from tests.conftest import NANO
from tinyaya.export.sweep.sweep_file import read_sweep

__all__ = ["command"]

_GOOD = f"""
out = "out"
recipes = ["fp32", "int4"]
backends = ["onnx", "executorch"]

[checkpoints]
nano = "{NANO}"

[languages]
all = []
africa = ["Swahili", "en"]

[export]
context = 512
chunk = 64
calibrate = false
"""


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_tasks_are_all_combinations(tmp_path: Path) -> None:
    sweep = read_sweep(_file(tmp_path, _GOOD))
    assert sweep.out == tmp_path / "out"
    assert len(sweep.tasks) == 8 and len({task.key for task in sweep.tasks}) == 8
    by_name = {task.name: task for task in sweep.tasks}
    task = by_name["nano-int4-africa-executorch"]
    assert task.languages == ("sw", "en")
    assert task.group == "nano-int4-africa"
    options = task.options()
    assert (options.context, options.chunk, options.calibrate) == (512, 64, False)
    assert options.vocabulary is not None and options.vocabulary.keep == "safe"
    whole = by_name["nano-int4-all-executorch"]
    assert whole.options().vocabulary is None
    assert 1e6 < task.peak_bytes < whole.peak_bytes < 10e9


def test_options_and_checkpoint_are_in_the_key(tmp_path: Path) -> None:
    first = read_sweep(_file(tmp_path, _GOOD)).tasks
    other = read_sweep(_file(tmp_path, _GOOD.replace("512", "256"))).tasks
    assert not {task.key for task in first} & {task.key for task in other}
    assert [task.key for task in read_sweep(_file(tmp_path, _GOOD)).tasks] == [
        task.key for task in first
    ]


def test_recipe_files_and_folders_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"weights": {"projections": {"bits": 8}}}')
    (tmp_path / "model").symlink_to(NANO)
    text = _GOOD.replace('"fp32", "int4"', '"mine.json"').replace(str(NANO), "model")
    names = [task.name for task in read_sweep(_file(tmp_path, text)).tasks]
    assert names[0] == "nano-mine-all-onnx"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[export]", "[export", ("cannot read", "line", "TOML")),
        ('"int4"]', '"int3"]', ("int3", "int4-quality")),
        ('"int4"]', '"absent.json"]', ("absent.json", "expected a recipe in JSON")),
        ("executorch", "tflite", ("tflite", "onnx, executorch")),
        (str(NANO), "absent", ("absent", "expected a Hugging Face checkpoint")),
        ('"Swahili"', '"Klingon"', ("Klingon", "languages")),
        ('recipes = ["fp32", "int4"]', "", ("recipes is missing",)),
        ("[export]", "[exports]", ("exports is unknown", "export")),
        ("chunk = 64", "chunks = 64", ("export.chunks is unknown", "chunk")),
        ("chunk = 64", 'chunk = "64"', ("export.chunk is '64'", "expected int")),
        ("chunk = 64", "chunk = 0", ("chunk is 0",)),
        ("context = 512", "context = 9999", ("9999", "max_position_embeddings 1024")),
        ("calibrate = false", "[evaluate]\ntokens = 1", ("tokens is 1",)),
        ("nano =", '"a/b" =', ("a/b-fp32-all-onnx", "folder's name")),
        ('"int4"]', '"fp32"]', ("two tasks are called nano-fp32-africa-executorch",)),
        ('"int4"]', "4]", ("recipes is ['fp32', 4]", "expected strings")),
    ],
)
def test_bad_files_are_refused(
    command: Command, tmp_path: Path, old: str, new: str, words: tuple
) -> None:
    assert old in _GOOD
    path = _file(tmp_path, _GOOD.replace(old, new))
    assert_refused(command("sweep", path), *words)
    assert not (tmp_path / "out").exists()


def test_absent_file_is_refused(command: Command, tmp_path: Path) -> None:
    assert_refused(command("sweep", tmp_path / "absent.toml"), "absent.toml", "cannot read")
