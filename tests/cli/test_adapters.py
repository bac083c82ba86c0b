"""`export`, `plan`, `verify` and `evaluate` with adapters."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Cohere2ForCausalLM

from tests.cli.conftest import Command
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import read_manifest
from tinyaya.runtime.whole_file import file_sha256


@pytest.fixture(scope="module")
def adapters(lone: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two for `lone`."""
    folders = [tmp_path_factory.mktemp("adapters") / name for name in ("swahili", "formal")]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        model = Cohere2ForCausalLM.from_pretrained(lone.folder, dtype=torch.float32)
        config = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
        get_peft_model(model, config).save_pretrained(folder)
    return folders


def test_a_bundle_names_its_adapters_and_is_verified_with_them(
    command: Command, lone: Checkpoint, adapters: list[Path], tmp_path: Path
) -> None:
    out, given = tmp_path / "out", [word for path in adapters for word in ("--adapter", path)]
    short = (
        "--no-calibrate",
        "--preamble",
        "none",
        "--context",
        64,
        "--chunk",
        16,
        "--recipe",
        "int8",
    )
    made = command("export", lone.folder, "--out", out, *given, *short)
    assert made.code == 0, made.err
    rows = read_manifest(out).adapters
    assert [row.name for row in rows] == ["swahili", "formal"]
    for row, folder in zip(rows, adapters, strict=True):
        assert row.config_sha256 == file_sha256(folder / "adapter_config.json")
        assert row.weights_sha256 == file_sha256(folder / "adapter_model.safetensors")
    assert "swahili, formal" in command("inspect", out).out
    moved = shutil.copytree(adapters[0], tmp_path / "moved")
    against = ("verify", out, "--against", lone.folder, "--adapter")
    assert command(*against, moved, "--adapter", adapters[1]).code == 0
    for wrong in ([], [adapters[0]], adapters[::-1]):
        given = [word for path in wrong for word in ("--adapter", path)]
        for name in ("verify", "evaluate"):
            found = command(name, out, "--against", lone.folder, *given)
            assert found.code == 2 and len(found.err.splitlines()) == 1
            assert "in this order: swahili, formal" in found.err, found.err


def test_a_bundle_without_adapters_is_no_bundle_with_them(
    command: Command, lone: Checkpoint, adapters: list[Path], tmp_path: Path
) -> None:
    path = shutil.copytree(adapters[0], tmp_path / "a") / "adapter_config.json"
    plan = ("plan", lone.folder, "--adapter", path.parent, "--json")
    plans = [command(*plan).json, command("plan", lone.folder, "--json").json]
    assert plans[0]["bundle_bytes"] == plans[1]["bundle_bytes"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "LOHA"}))
    for found in (command(*plan), command("export", *plan[1:-1], "--out", tmp_path / "out")):
        assert found.code == 2 and "'LOHA'" in found.err and len(found.err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == [path.parent]
