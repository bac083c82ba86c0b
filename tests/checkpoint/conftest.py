"""A whole checkpoint of a tiny model that tests may break: its folder, config and tensors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_checkpoint import ABSENT, CONFIG, NANO, write_index
from torch import Tensor

from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = tensor_shapes(parse_config(CONFIG))
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, Tensor]) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(NANO / file, tmp_path)
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def edit_config(folder: Path) -> Callable[..., None]:
    """Writes config.json with the given values; ABSENT deletes a key."""

    def edit(**changes: Any) -> None:
        config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ABSENT}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    return edit


@pytest.fixture
def shard(folder: Path, tensors: dict[str, Tensor]) -> Callable[[], dict[str, Any]]:
    """Splits the weights into two files; returns the index, which the test may change."""

    def split() -> dict[str, Any]:
        (folder / "model.safetensors").unlink()
        files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
        parts: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        for index, name in enumerate(tensors):
            parts[index % 2][name] = tensors[name]
        for file, part in zip(files, parts, strict=True):
            save_file(part, folder / file)
        index = {
            "metadata": {},
            "weight_map": {
                name: file for file, part in zip(files, parts, strict=True) for name in part
            },
        }
        write_index(folder, index)
        return index

    return split
