"""Checkpoints to compare with transformers: the trained one, and random ones of any shape."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.fixture(scope="session")
def nano() -> Path:
    return ASSETS / "nano"


@pytest.fixture(scope="session")
def udhr() -> Path:
    return ASSETS / "udhr"


@pytest.fixture
def random_checkpoint(tmp_path: Path, nano: Path) -> Callable[..., Path]:
    """Saves a model of random weights, large enough that every part of it shows in the logits."""

    def save(dtype: torch.dtype = torch.float32, shard: str = "5GB", **sizes: Any) -> Path:
        from transformers import Cohere2Config, Cohere2ForCausalLM

        pattern = sizes.pop("sliding_window_pattern", None)
        torch.manual_seed(0)
        extra = {} if pattern is None else {"sliding_window_pattern": pattern}
        model = Cohere2ForCausalLM(Cohere2Config(initializer_range=0.2, **sizes, **extra))
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                torch.nn.init.uniform_(weight, 0.5, 1.5)
        model.to(dtype).save_pretrained(tmp_path, max_shard_size=shard)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(nano / file, tmp_path)
        if pattern is not None:
            _spell_as_pattern(tmp_path / "config.json", pattern)
        return tmp_path

    return save


def _spell_as_pattern(path: Path, pattern: int) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["layer_types"]
    path.write_text(json.dumps({**config, "sliding_window_pattern": pattern}), encoding="utf-8")
