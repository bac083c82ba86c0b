"""Writes a checkpoint of Tiny Aya's exact sizes with reproducible random weights.

It stands in for the real one where speed, memory and export are measured; its text means nothing.
Usage: python -m tinyaya.benchmarks.synthetic DIR [--tokenizer FOLDER] [--layers N] [--seed N]
"""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import torch
import typer
from torch import Tensor

from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.source.shards import write_shards

CONFIG: dict[str, Any] = {
    "architectures": ["Cohere2ForCausalLM"],
    "model_type": "cohere2",
    "vocab_size": 262144,
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
    "rope_theta": 50000.0,
    "layer_norm_eps": 1e-5,
    "logit_scale": 1.0,
    "max_position_embeddings": 8192,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
    "dtype": "bfloat16",
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
_SHARD_BYTES = 1_500_000_000
_CHUNK_VALUES = 1 << 24  # generated at a time
# The small model's default system message; Tiny Aya's own is about six times as long.
_SYSTEM_MESSAGE = (
    "You answer in the language of the question, briefly and truthfully. You know seventy "
    "languages and treat them alike. When you do not know, you say so."
)
_SYSTEM_REPEATS = 6


def write_checkpoint(folder: Path, tokenizer: Path, config: dict[str, Any], seed: int = 0) -> None:
    """Write a sharded bf16 checkpoint of `config`, never holding more than a chunk of it.

    tokenizer: a folder whose tokenizer files are copied; its ids must fit the vocabulary. A system
    message of the small model becomes as long as Tiny Aya's. seed: another one gives other values.
    """
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    for name in _TOKENIZER_FILES:
        text = (tokenizer / name).read_text(encoding="utf-8")
        text = text.replace(_SYSTEM_MESSAGE, " ".join([_SYSTEM_MESSAGE] * _SYSTEM_REPEATS))
        (folder / name).write_text(text, encoding="utf-8")
    shapes = tensor_shapes(parse_config(config))
    write_shards(
        folder, shapes, "BF16", lambda name: _values(name, shapes[name], seed), _SHARD_BYTES
    )


def _values(name: str, shape: tuple[int, ...], seed: int) -> Iterator[Tensor]:
    """Seeded by name, too. Norms lie around 1; a matrix keeps the size of what it multiplies."""
    generator = torch.Generator().manual_seed(crc32(name.encode(), seed))
    scale = 0.1 if len(shape) == 1 else shape[1] ** -0.5
    mean = 1.0 if len(shape) == 1 else 0.0
    left = prod(shape)
    while left:
        count = min(left, _CHUNK_VALUES)
        yield torch.randn(count, generator=generator).mul_(scale).add_(mean)
        left -= count


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Must not exist.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder of tokenizer files.")] = Path(
        "tests/assets/nano"
    ),
    layers: Annotated[int, typer.Option(help="Fewer layers, for a try.")] = 36,
    seed: Annotated[int, typer.Option(help="Another one gives other values.")] = 0,
) -> None:
    """Write a random checkpoint of Tiny Aya's sizes to DIR (6.7 GB)."""
    if folder.exists():
        raise typer.BadParameter(f"{folder} exists; choose another folder")
    write_checkpoint(folder, tokenizer, {**CONFIG, "num_hidden_layers": layers}, seed)


if __name__ == "__main__":
    typer.run(main)
