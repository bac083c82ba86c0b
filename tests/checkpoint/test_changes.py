"""A checkpoint that something writes to while it is read: named, with what changed; no bundle."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_checkpoint import NANO

from tinyaya.export import pipeline
from tinyaya.export.errors import ChangedError
from tinyaya.export.options import ExportOptions
from tinyaya.export.pipeline import export_bundle
from tinyaya.export.source import checkpoint as checkpoint_module
from tinyaya.export.source.checkpoint import open_checkpoint

SINGLE = "model.safetensors"
Change = Callable[[Path], None]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def delete(path: Path) -> None:
    path.unlink()


def rewrite(path: Path) -> None:
    """The same bytes and size, at another time."""
    stat = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def replace(path: Path) -> None:
    """Another file of the same bytes, size and time."""
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.rename(path)


CHANGES: list[tuple[Change, str]] = [
    (cut, "bytes and now has"),
    (grow, "bytes and now has"),
    (delete, "was deleted"),
    (rewrite, "was written to"),
    (replace, "was replaced by another file"),
]
EACH_CHANGE = pytest.mark.parametrize(("change", "words"), CHANGES, ids=lambda x: str(x)[:20])


@EACH_CHANGE
def test_shard_changes_before_it_is_read(
    folder: Path, shard: Callable[[], Any], change: Change, words: str
) -> None:
    shard()
    checkpoint = open_checkpoint(folder)
    path = checkpoint.tensors[checkpoint.names[-1]].path
    checkpoint.read(checkpoint.names[-1])
    change(path)
    with pytest.raises(ChangedError, match=rf"{path.name} .*{words}.* export again"):
        checkpoint.read(checkpoint.names[-1])


@EACH_CHANGE
@pytest.mark.parametrize(
    "name",
    [SINGLE, "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"],
)
def test_file_changes_after_it_was_read(
    folder: Path, name: str, change: Change, words: str
) -> None:
    checkpoint = open_checkpoint(folder)
    checkpoint.check_unchanged()
    change(folder / name)
    with pytest.raises(ChangedError, match=rf"{name} .*{words}"):
        checkpoint.check_unchanged()


def test_index_changes(folder: Path, shard: Callable[[], Any]) -> None:
    shard()
    checkpoint = open_checkpoint(folder)
    rewrite(folder / "model.safetensors.index.json")
    with pytest.raises(ChangedError, match=r"index\.json was written to"):
        checkpoint.check_unchanged()


def test_other_files_may_change(folder: Path) -> None:
    (folder / "README.md").write_text("a")
    checkpoint = open_checkpoint(folder)
    (folder / "README.md").write_text("ab")
    (folder / "notes.txt").write_text("new")
    checkpoint.check_unchanged()


def test_file_cut_between_two_blocks_of_a_tensor(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped, this would kill the process."""
    monkeypatch.setattr("tinyaya.export.source.weights._MAX_BLOCK_VALUES", 4096)
    tensor = open_checkpoint(folder).tensors["model.embed_tokens.weight"]
    blocks = tensor._blocks(0, 10240 * 8)
    next(blocks)
    os.truncate(folder / SINGLE, 20_000)
    with pytest.raises(ChangedError, match="was cut short"):
        list(blocks)


def test_file_written_to_during_a_read(folder: Path) -> None:
    tensor = open_checkpoint(folder).tensors["model.norm.weight"]
    blocks = tensor._blocks(0, 8)
    next(blocks)
    rewrite(folder / SINGLE)
    with pytest.raises(ChangedError, match="was written to"):
        list(blocks)


def test_shard_changes_between_config_and_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = checkpoint_module.parse_config

    def and_cut(raw: Any) -> Any:
        cut(folder / SINGLE)
        return parse(raw)

    monkeypatch.setattr(checkpoint_module, "parse_config", and_cut)
    with pytest.raises(ChangedError, match="bytes and now has"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["tensor", "rows"])
def test_rows_are_those_of_the_tensor(
    folder: Path, tensors: dict[str, torch.Tensor], name: str
) -> None:
    table = "model.embed_tokens.weight"
    checkpoint = open_checkpoint(folder)
    rows = range(10240) if name == "tensor" else range(77, 4099)
    assert torch.equal(checkpoint.read(table, rows), tensors[table][rows.start : rows.stop])


@EACH_CHANGE
@pytest.mark.parametrize("stage", ["golden_tokens", "build_quantized"])
def test_export_of_a_changing_checkpoint_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, change: Change, words: str
) -> None:
    """Changed before the golden texts are encoded, or after the last tensor was read."""
    source = shutil.copytree(NANO, tmp_path / "source")
    right = getattr(pipeline, stage)

    def and_change(*arguments: Any) -> Any:
        result = right(*arguments)
        change(source / SINGLE)
        return result

    monkeypatch.setattr(pipeline, stage, and_change)
    with pytest.raises(ChangedError, match=rf"{SINGLE} .*{words}"):
        export_bundle(source, tmp_path / "out", ExportOptions(calibrate=False, verify=False))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
