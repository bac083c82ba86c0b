"""The random checkpoint opens as the real one would, and is the same every time."""

from pathlib import Path

import torch

from tests.conftest import NANO
from tinyaya.benchmarks import synthetic
from tinyaya.export.source.checkpoint import open_checkpoint

SMALL = synthetic.CONFIG | {
    "vocab_size": 10304,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_checkpoint_is_sharded_and_opens(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(synthetic, "_SHARD_BYTES", 400_000)
    synthetic.write_checkpoint(tmp_path / "a", NANO, SMALL)
    synthetic.write_checkpoint(tmp_path / "b", NANO, SMALL)
    assert len(list((tmp_path / "a").glob("*.safetensors"))) > 1
    checkpoint = open_checkpoint(tmp_path / "a")
    tensors = {name: checkpoint.read(name) for name in checkpoint.names}
    query = tensors["model.layers.0.self_attn.q_proj.weight"]
    assert abs(query.std().item() * 8 - 1) < 0.05
    assert not torch.equal(query, tensors["model.layers.1.self_attn.q_proj.weight"])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_default_sizes_are_tiny_ayas() -> None:
    from tinyaya.export.bundle.write import parameter_count
    from tinyaya.export.decoder.config import parse_config

    config = parse_config(synthetic.CONFIG)
    assert parameter_count(config) == 3_349_227_520
    assert [i for i, layer in enumerate(config.layers) if layer.window is None] == list(
        range(3, 36, 4)
    )
