"""The decoder computes what transformers' CohereForCausalLM (Aya Expanse, Command R) computes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tinyaya.export.calibration.fit import first_streams, fit_layer
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.reference import reference_hidden, reference_logits
from tinyaya.export.errors import ConfigError, TensorError
from tinyaya.export.proof.parity import float_model
from tinyaya.export.source.checkpoint import open_checkpoint
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.quantize.recipe import RECIPES

pytestmark = pytest.mark.l2

TOLERANCE = 1e-4
BASE: dict[str, Any] = {
    "vocab_size": 10240,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "logit_scale": 0.125,
}
SHAPES: dict[str, dict[str, Any]] = {
    "Aya Expanse": {},
    "head norms": {"use_qk_norm": True},
    "head norms, as many key-value heads": {"use_qk_norm": True, "num_key_value_heads": 6},
    "untied head": {"tie_word_embeddings": False},
    "stored as bfloat16": {"dtype": torch.bfloat16, "use_qk_norm": True},
}
Random = Callable[..., Path]


@pytest.fixture
def random_cohere(tmp_path: Path, nano: Path) -> Random:
    """Saves a Cohere model of random weights."""

    def save(dtype: torch.dtype = torch.float32, **sizes: Any) -> Path:
        from transformers import CohereConfig, CohereForCausalLM

        torch.manual_seed(0)
        model = CohereForCausalLM(CohereConfig(initializer_range=0.2, **{**BASE, **sizes}))
        for name, weight in model.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(weight, 0.5, 1.5)
        model.to(dtype).save_pretrained(tmp_path)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(nano / file, tmp_path)
        return tmp_path

    return save


def truth(folder: Path, ids_BT: Tensor) -> Tensor:
    from transformers import CohereForCausalLM

    model = CohereForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        return model(input_ids=ids_BT, use_cache=False).logits


def unquantized(folder: Path) -> QuantizedModel[DecoderConfig]:
    return float_model(open_checkpoint(folder))


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.mark.parametrize("sizes", SHAPES.values(), ids=SHAPES.keys())
def test_random_model(random_cohere: Random, sizes: dict[str, Any]) -> None:
    folder, ids_BT = random_cohere(**sizes), torch.randint(1, 10240, (2, 40))
    expected = truth(folder, ids_BT)
    assert expected.std() > 0.05
    assert difference(reference_logits(unquantized(folder), ids_BT), expected) < TOLERANCE


def test_positions_and_norms_count(random_cohere: Random) -> None:
    folder, ids_BT = random_cohere(use_qk_norm=True), torch.randint(1, 10240, (1, 40))
    model, expected = unquantized(folder), truth(folder, ids_BT)
    layers = model.config.layers
    assert all(layer.rotary and layer.window is None for layer in layers)
    for change in (
        {"layers": tuple(replace(layer, rotary=False) for layer in layers)},
        {"layers": tuple(replace(layer, window=8) for layer in layers)},
        {"head_norms": False},
    ):
        other = replace(model, config=replace(model.config, **change))
        logits = reference_logits(other, ids_BT)
        assert difference(logits, expected) > 100 * TOLERANCE, change


def test_calibration_sees_what_the_model_computes(random_cohere: Random) -> None:
    checkpoint = open_checkpoint(random_cohere(use_qk_norm=True))
    ids = [[2, *range(500, 530)]]
    streams = first_streams(checkpoint, RECIPES["fp32"], ids)
    for index in range(len(checkpoint.config.layers)):
        _, streams = fit_layer(checkpoint, RECIPES["fp32"], index, streams)
    expected = reference_hidden(float_model(checkpoint), torch.tensor(ids))
    torch.testing.assert_close(torch.stack(list(streams.exact)), expected, atol=1e-4, rtol=1e-4)


def test_norms_are_matched_both_ways(random_cohere: Random) -> None:
    folder = random_cohere(use_qk_norm=True)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "use_qk_norm": False}))
    with pytest.raises(TensorError, match="surplus tensor"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sliding_window": 4096}, "sliding_window = 4096"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types"),
        ({"rope_parameters": None}, "rope_theta = None"),
        ({"use_qk_norm": "yes"}, "use_qk_norm = 'yes'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
    ],
)
def test_other_computations_are_refused(
    random_cohere: Random, change: dict[str, Any], words: str
) -> None:
    folder = random_cohere()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        open_checkpoint(folder)
