"""`merge`: what it leaves, and what it refuses in one line before any work."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.conftest import Command, content
from tests.random_checkpoint import CONFIG, random_checkpoint
from tinyaya.export.source.checkpoint import Checkpoint


def test_a_merge_is_exported_like_any_checkpoint(
    command: Command, lone: Checkpoint, tmp_path: Path
) -> None:
    other = shutil.copytree(lone.folder, tmp_path / "other")
    made = command("merge", tmp_path / "out", "--method", "linear", lone.folder, f"{other}:0.5")
    assert made.code == 0 and "2 checkpoints, linear" in made.out, made.err
    assert command("plan", tmp_path / "out", "--json").code == 0
    before = content(tmp_path / "out")
    again = ("merge", tmp_path / "out", "--method", "slerp", lone.folder, other)
    refused = command(*again)
    assert refused.code == 2 and "add --force" in refused.err
    assert content(tmp_path / "out") == before
    assert command(*again, "--force").code == 0
    assert content(tmp_path / "out") != before
    refused = command("merge", other, "--method", "linear", lone.folder, lone.folder, "--force")
    assert refused.code == 2 and "named twice" in refused.err
    refused = command(
        "merge", other, "--method", "linear", lone.folder, tmp_path / "out", "--force"
    )
    assert refused.code == 2 and "without mergekit_config.yml" in refused.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A", "B"], "expected --method"),
        (["--method", "linear", "--config", "A/config.json"], "expected --method"),
        (["--method", "mean", "A", "B"], "known: linear, slerp, ties"),
        (["--method", "linear", "A"], "two or more"),
        (["--method", "linear", "A:1", "B:-1"], "not 0 in sum"),
        (["--method", "linear", "A", "B", "--base", "A"], "no --base"),
        (["--method", "linear", "A", "B", "--density", "0.5"], "--density is 0.5 with linear"),
        (["--method", "ties", "A", "B"], "--base"),
        (["--method", "ties", "A", "B", "--base", "A"], "--base"),
        (["--method", "ties", "B", "--base", "A", "--density", "1.5"], "at most 1"),
        (["--method", "slerp", "A", "B", "C"], "name two"),
        (["--method", "slerp", "A", "A:2"], "named twice"),
        (["--method", "linear", "A", "B:x"], "B:x is not a folder"),
        (["--method", "linear", "A", "absent"], "absent is not a folder"),
        (["--method", "linear", "A", "small"], "small has width 32, A has 64"),
        (["--method", "linear", "A", "words"], "other vocabularies, such as"),
        (["--method", "linear", "A", "broken"], "missing from the checkpoint"),
        (["--config", "absent.yaml"], "absent.yaml cannot be read"),
        (["--config", "A/config.json"], "mergekit cannot read it"),
        (["--config", "A/tokenizer_config.json"], "chat_template is not supported"),
        (["--config", "list.yaml"], "holds no keys"),
        (["--config", "two.yaml"], "cannot be read"),
        (["--config", "union.yaml"], "tokenizer is not supported"),
        (["--config", "layers.yaml"], "other layers than A (model.layers.1"),
        (["--config", "method.yaml"], "mergekit refuses it: Unimplemented merge method no"),
        (["--config", "weight.yaml"], "Missing required parameter weight"),
        (["--config", "dtype.yaml"], "dtype is 'int8'"),
        (["--config", "lora.yaml"], "expected a whole checkpoint: a folder without"),
        (["--config", "donor.yaml"], "tokenizer_source is absent"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged(
    command: Command, lone: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_sources(lone)
    before = sorted(tmp_path.rglob("*"))
    result = command("merge", "out", *arguments)
    lines = [line for line in result.err.splitlines() if not line.startswith("merge ")]
    assert (result.code, result.out, len(lines)) == (2, "", 1), result.err
    assert words in lines[0], lines[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_extra_is_named(
    command: Command, lone: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [x for x in sys.modules if x.startswith(("tinyaya.export.merge", "mergekit"))]:
        monkeypatch.delitem(sys.modules, name)
    merge = ("merge", tmp_path / "out", "--method", "linear", lone.folder, tmp_path)
    for package in ("mergekit", "yaml"):
        monkeypatch.setitem(sys.modules, package, None)
        result = command(*merge)
        assert result.code == 2 and len(result.err.splitlines()) == 1
        assert f"needs the package {package}; pip install 'tinyaya-export[merge]'" in result.err


def write_sources(lone: Checkpoint) -> None:
    """Three that fit, three that do not, and configurations."""
    for name in ("A", "B", "C", "words", "broken"):
        shutil.copytree(lone.folder, name)
    edited("words/tokenizer.json", lambda raw: swap(raw["model"]["vocab"], "A", "B"))
    tensors = load_file("broken/model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, "broken/model.safetensors")
    Path("small").mkdir()
    layers = {"num_hidden_layers": 1, "sliding_window_pattern": 1}
    random_checkpoint(Path("small"), CONFIG | layers | {"hidden_size": 32})
    models = [{"model": name, "parameters": {"weight": 1}} for name in "AB"]
    linear = {"merge_method": "linear", "models": models}
    layer = {"sources": [{"model": "A", "layer_range": [0, 1]}]}
    for name, raw in {
        "list": [1],
        "union": {**linear, "tokenizer": {"source": "union"}},
        "layers": {"merge_method": "passthrough", "slices": [layer, layer]},
        "method": {**linear, "merge_method": "no"},
        "weight": {**linear, "models": [{"model": "A"}, {"model": "B"}]},
        "dtype": {**linear, "dtype": "int8"},
        "lora": {**linear, "models": [models[0], {**models[1], "model": "B+C"}]},
        "donor": {**linear, "tokenizer_source": "absent"},
    }.items():
        Path(f"{name}.yaml").write_text(json.dumps(raw))  # which is YAML
    Path("two.yaml").write_text("a: b: c")


def swap(ids: dict[str, int], one: str, other: str) -> None:
    ids[one], ids[other] = ids[other], ids[one]


def edited(name: str, change: Any) -> None:
    raw = json.loads(Path(name).read_text(encoding="utf-8"))
    change(raw)
    Path(name).write_text(json.dumps(raw), encoding="utf-8")
