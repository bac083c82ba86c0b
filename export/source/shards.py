"""Writes a checkpoint's tensors as safetensors files with an index, block by block."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from tinyaya.export.source.hub import INDEX_FILE
from tinyaya.export.source.weights import FLOAT_DTYPES

Blocks = Callable[[str], Iterable[Tensor]]
_SHARD_BYTES = 5_000_000_000


def write_shards(
    folder: Path,
    shapes: Mapping[str, Sequence[int]],
    kind: str,
    blocks: Blocks,
    shard_bytes: int = _SHARD_BYTES,
) -> None:
    """Write tensors of these names and shapes, never holding more than a block.

    kind: their type, as safetensors calls it. blocks: name -> its values from the first to the
    last, in float. shard_bytes: a file's size at most, if it holds several tensors.
    """
    value_bytes = FLOAT_DTYPES[kind].itemsize
    sizes = {name: prod(shape) * value_bytes for name, shape in shapes.items()}
    shards = list(_shards(sizes, shard_bytes))
    weight_map: dict[str, str] = {}
    for index, names in enumerate(shards, start=1):
        shard = f"model-{index:05}-of-{len(shards):05}.safetensors"
        _write_shard(folder / shard, {name: shapes[name] for name in names}, kind, blocks)
        weight_map |= dict.fromkeys(names, shard)
    index_json = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
    (folder / INDEX_FILE).write_text(json.dumps(index_json, indent=1), encoding="utf-8")


def _shards(sizes: Mapping[str, int], shard_bytes: int) -> Iterator[Sequence[str]]:
    """Names in order, cut where a shard would grow too large."""
    names: list[str] = []
    size = 0
    for name, count in sizes.items():
        if names and size + count > shard_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += count
    yield names


def _write_shard(
    path: Path, shapes: Mapping[str, Sequence[int]], kind: str, blocks: Blocks
) -> None:
    """Write one file in the safetensors format: header length, header, values."""
    dtype = FLOAT_DTYPES[kind]
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + prod(shape) * dtype.itemsize
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in shapes:
            for block in blocks(name):
                file.write(block.to(dtype).contiguous().view(torch.uint8).numpy().data)
