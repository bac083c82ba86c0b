"""A Hugging Face folder in; a Checkpoint out: config, tokenizer files, and tensors read lazily.

Tensors are matched both ways: every tensor of the architecture must be there, and no other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from export.decoder.config import DecoderConfig, parse_config
from export.decoder.model import tensor_shapes
from export.errors import CheckpointError, TensorError
from export.tokenizer import Tokenizer, open_tokenizer

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_FLOATS = ("BF16", "F16", "F32")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened folder; weights stay on disk until read.

    files: tensor name -> the safetensors file that holds it.
    """

    folder: Path
    config: DecoderConfig
    tokenizer: Tokenizer
    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)

    @property
    def names(self) -> Sequence[str]:
        """Names of the tensors of the architecture, in its order."""
        return list(self.shapes)

    def read(self, name: str) -> Tensor:
        """One tensor in float32; raises TensorError if a value is not finite."""
        path = self.files[name]
        try:
            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(name).float()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: cannot read {name}: {error}") from error
        if not torch.isfinite(tensor).all():
            raise TensorError(f"{path}: {name} holds NaN or infinite values; download it again")
        return tensor


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open `folder`; raises CheckpointError (see `errors`) with what is wrong with it."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected a Hugging Face checkpoint")
    raw = read_json(folder / "config.json")
    config = parse_config(raw)
    tokenizer = open_tokenizer(
        folder,
        raw,
        read_json(folder / "generation_config.json", required=False),
        read_json(folder / "tokenizer_config.json", required=False),
    )
    files = _locate(folder)
    shapes = tensor_shapes(config)
    _match(files, shapes)
    return Checkpoint(
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        files=files,
        shapes=shapes,
    )


def read_json(path: Path, *, required: bool = True) -> dict[str, Any]:
    """A JSON object from a file; {} where it is absent and not required."""
    if not path.exists():
        if required:
            raise CheckpointError(
                f"{path.parent} has no {path.name}; download the whole checkpoint"
            )
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot read: {error}; download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _locate(folder: Path) -> dict[str, Path]:
    """Tensor name -> file, for one file or for shards with an index."""
    if (folder / _INDEX).exists():
        return _locate_shards(folder)
    if (folder / _SINGLE).exists():
        return dict.fromkeys(_tensor_names(folder / _SINGLE), folder / _SINGLE)
    if any(found for pattern in _PICKLES for found in folder.glob(pattern)):
        raise CheckpointError(
            f"{folder} holds pickled weights only, which can run code when loaded; "
            "convert them to safetensors"
        )
    raise CheckpointError(f"{folder} has neither {_SINGLE} nor {_INDEX}; download the weights")


def _locate_shards(folder: Path) -> dict[str, Path]:
    """Tensor name -> file by the index, which must name what the shards hold, no less, no more."""
    weight_map = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{folder / _INDEX}: expected an object 'weight_map'")
    shards = {name: _shard_path(folder, shard) for name, shard in weight_map.items()}
    for path in sorted(set(shards.values())):
        if not path.exists():
            raise CheckpointError(
                f"{folder} lacks {path.name}, which its index names; download it again"
            )
    held = {(name, path) for path in set(shards.values()) for name in _tensor_names(path)}
    for name, path in sorted(shards.items() - held):
        raise TensorError(
            f"{path}: the index promises {name}, the file does not hold it; download both again"
        )
    for name, path in sorted(held - shards.items()):
        raise TensorError(
            f"{path}: holds {name}, which the index does not place there; download both again"
        )
    return shards


def _shard_path(folder: Path, shard: object) -> Path:
    if not isinstance(shard, str) or Path(shard).name != shard or shard in ("", ".."):
        raise CheckpointError(
            f"{folder / _INDEX}: {shard!r} is not a plain file name; download the index again"
        )
    return folder / shard


def _tensor_names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}); download it again"
        ) from error


def _match(files: dict[str, Path], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse missing, surplus and misshapen tensors; drop biases that are zero."""
    if missing := sorted(shapes.keys() - files.keys()):
        raise TensorError(f"{_some(missing)} missing from the checkpoint; download it again")
    for name in sorted(files.keys() - shapes.keys()):
        with safe_open(files[name], framework="pt") as file:
            if not name.endswith(".bias"):
                raise TensorError(
                    f"{files[name]}: surplus tensor {name}, which the architecture does not use; "
                    "this is not a plain Cohere2 checkpoint"
                )
            if file.get_tensor(name).any():
                raise TensorError(f"{files[name]}: {name} is not zero; biases are not supported")
        del files[name]
    for name, shape in shapes.items():
        with safe_open(files[name], framework="pt") as file:
            tensor = file.get_slice(name)
            found, kind = tuple(tensor.get_shape()), tensor.get_dtype()
        if found != shape:
            raise TensorError(
                f"{files[name]}: {name} has shape {found}, expected {shape}; "
                "config.json and weights belong to different models"
            )
        if kind not in _FLOATS:
            raise TensorError(
                f"{files[name]}: {name} is stored as {kind}, expected {', '.join(_FLOATS)}; "
                "take the checkpoint that is not quantized"
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more + (" are" if len(names) > 1 else " is")
