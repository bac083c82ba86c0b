"""A folder that has what the pages take for granted, under their names, only small."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import Cohere2ForCausalLM

from tests.bench.made_results import write_all
from tests.bench.test_results import APP_REPORT
from tests.conftest import NANO, UDHR
from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes

# Two layers of random weights take seconds where the trained model takes minutes. Context as
# large as Tiny Aya's, so that pages may say --context 4096.
SMALL = {
    "hidden_size": 128,
    "head_dim": 32,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"],
    "max_position_embeddings": 8192,
}
CHECKPOINTS = (
    *("tests/assets/nano", "tiny-aya-global", "tiny-aya-earth"),
    "CohereLabs/tiny-aya-global",  # a folder of that name wins; tests/hub ask a hub
)
_ADB = """#!/bin/sh
case "$1 $2" in
  "shell pm") echo package:/demo.apk ;;
  "exec-out cat") echo '%s' ;;
esac
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints and files that pages name; what one page makes is there for the next."""
    folder = tmp_path_factory.mktemp("docs")
    small = tmp_path_factory.mktemp("checkpoint") / "small"
    _write_small(small)
    for name in CHECKPOINTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(small, target_is_directory=True)
    _write_adapter(small, folder / "my-adapter")
    (folder / "schema.json").write_text(json.dumps({"enum": ["yes", "no"]}))
    (folder / "system.txt").write_text("You answer briefly.")
    (folder / "letters").mkdir()
    for code in ("sw", "en"):
        shutil.copy(UDHR / f"{code}.txt", folder / "letters")
    made_up = folder / "made-up"
    made_up.mkdir()
    (folder / "pi.json").symlink_to(write_all(made_up)[0])
    adb = folder / "bin" / "adb"
    adb.parent.mkdir()
    adb.write_text(_ADB % json.dumps(APP_REPORT))
    adb.chmod(0o755)
    return folder


@pytest.fixture
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder, as the place where commands are typed; its `adb` is a small script."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    yield place


def _write_adapter(checkpoint: Path, folder: Path) -> None:
    model = Cohere2ForCausalLM.from_pretrained(checkpoint)
    config = LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(folder)


def _write_small(folder: Path) -> None:
    config = {**json.loads((NANO / "config.json").read_text(encoding="utf-8")), **SMALL}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(NANO / file, folder)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: (
            torch.randn(shape, generator=generator) * shape[-1] ** -0.5
            if len(shape) > 1
            else torch.ones(shape)
        ).bfloat16()
        for name, shape in tensor_shapes(parse_config(config)).items()
    }
    save_file(tensors, folder / "model.safetensors")
