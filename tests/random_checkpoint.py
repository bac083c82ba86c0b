"""Writes small checkpoints of random weights, whose window is crossed at once."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.store import NANO
from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint

WINDOW = 8
CONFIG = {
    "model_type": "cohere2",
    "vocab_size": 10300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "sliding_window": WINDOW,
    "sliding_window_pattern": 4,
    "max_position_embeddings": 128,
    "rope_theta": 50000.0,
    "logit_scale": 0.5,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


def random_checkpoint(folder: Path, config: Mapping[str, object]) -> Checkpoint:
    """The same weights each time, with the tokenizer of nano."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.2
        if len(shape) == 2 and "norm" not in name
        else 1 + 0.1 * torch.randn(shape, generator=generator)
        for name, shape in tensor_shapes(parse_config(config)).items()
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(NANO / name, folder)
    return open_checkpoint(folder)
