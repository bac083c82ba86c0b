"""The decoder computes what transformers' Cohere2ForCausalLM computes in float32."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tinyaya.export.decoder import attention
from tinyaya.export.decoder.config import AttentionConfig, DecoderConfig
from tinyaya.export.decoder.model import Decoder
from tinyaya.export.decoder.reference import ReferenceLeaves, reference_logits
from tinyaya.export.source.checkpoint import open_checkpoint
from tinyaya.quantize.quantizer import QuantizedModel, quantize_model
from tinyaya.quantize.recipe import RECIPES

pytestmark = pytest.mark.l2

TOLERANCE = 1e-4
W, G = "sliding_attention", "full_attention"
BASE = {
    "vocab_size": 10240,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "sliding_window": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0},
    "logit_scale": 1.0,
}
SHAPES: dict[str, dict[str, Any]] = {
    "grouped queries": {},
    "as many key-value heads as query heads": {"num_key_value_heads": 6},
    "one key-value head, window 4": {"num_key_value_heads": 1, "sliding_window": 4},
    "untied head": {"tie_word_embeddings": False},
    "logit scale": {"logit_scale": 0.0625},
    "pattern as a number, layers no multiple of it": {
        "num_hidden_layers": 5,
        "sliding_window_pattern": 2,
    },
    "period 3 with global layers first": {"layer_types": [G, W, W, G, W], "num_hidden_layers": 5},
    "only window layers": {"layer_types": [W, W], "num_hidden_layers": 2},
    "only global layers": {"layer_types": [G, G], "num_hidden_layers": 2},
    "odd sizes, window 5": {
        "vocab_size": 10253,
        "hidden_size": 42,
        "intermediate_size": 53,
        "num_attention_heads": 7,
        "num_key_value_heads": 1,
        "sliding_window": 5,
    },
    "one head, default theta, window 16": {
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "rope_parameters": None,
        "sliding_window": 16,
    },
    "large norm epsilon": {"layer_norm_eps": 0.1},
    "stored as bfloat16": {"dtype": torch.bfloat16},
    "stored as float16": {"dtype": torch.float16},
    "sharded": {"shard": "40KB"},
}


def truth(folder: Path, ids_BT: Tensor) -> Tensor:
    from transformers import Cohere2ForCausalLM

    model = Cohere2ForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        return model(input_ids=ids_BT, use_cache=False).logits


def unquantized(folder: Path) -> QuantizedModel[DecoderConfig]:
    return quantize_model(open_checkpoint(folder), RECIPES["fp32"])


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.mark.parametrize("sizes", SHAPES.values(), ids=SHAPES.keys())
def test_random_model(random_checkpoint: Callable[..., Path], sizes: dict[str, Any]) -> None:
    sizes = {**BASE, **sizes}
    folder = random_checkpoint(**sizes)
    ids_BT = torch.randint(1, 10240, (2, 3 * sizes["sliding_window"] + 3))
    expected = truth(folder, ids_BT)
    assert expected.std() > 0.05  # weights so small that nothing shows would prove nothing
    assert difference(reference_logits(unquantized(folder), ids_BT), expected) < TOLERANCE


def test_shards_are_more_than_one(random_checkpoint: Callable[..., Path]) -> None:
    assert len(list(random_checkpoint(**BASE, shard="40KB").glob("*.safetensors"))) > 2


@pytest.fixture(scope="module")
def trained(nano: Path) -> QuantizedModel[DecoderConfig]:
    return unquantized(nano)


@pytest.fixture(scope="module")
def passages(nano: Path, udhr: Path) -> dict[str, Tensor]:
    """Language -> ids_BT of three windows and a bit."""
    tokenizer = Tokenizer.from_file(str(nano / "tokenizer.json"))
    languages = ("en", "ar", "hi", "zh")
    texts = {code: (udhr / f"{code}.txt").read_text(encoding="utf-8") for code in languages}
    return {code: torch.tensor([tokenizer.encode(texts[code]).ids[:390]]) for code in texts}


@pytest.fixture(scope="module")
def expected(nano: Path, passages: dict[str, Tensor]) -> Tensor:
    return truth(nano, torch.cat(list(passages.values())))


def test_trained_model_in_many_scripts(
    trained: QuantizedModel[DecoderConfig], passages: dict[str, Tensor], expected: Tensor
) -> None:
    ids_BT = torch.cat(list(passages.values()))
    assert ids_BT.shape[1] > 3 * trained.config.window
    assert difference(reference_logits(trained, ids_BT), expected) < TOLERANCE


def leaves_of(config: DecoderConfig) -> ReferenceLeaves:
    caches = [lambda keys, values: (keys, values)] * len(config.layers)
    return ReferenceLeaves(config.rope_theta, None, RECIPES["fp32"], caches)


def test_decoder_gives_the_last_position(
    trained: QuantizedModel[DecoderConfig], passages: dict[str, Tensor], expected: Tensor
) -> None:
    leaves = leaves_of(trained.config)
    decoder = Decoder(trained.config, trained.weights, leaves)
    with torch.no_grad():
        logits_B1V = decoder(passages["en"], None)
    assert difference(logits_B1V, expected[:1, -1:]) < TOLERANCE


def test_decoder_scales_its_logits(random_checkpoint: Callable[..., Path]) -> None:
    folder = random_checkpoint(**{**BASE, "logit_scale": 0.25, "tie_word_embeddings": False})
    model, ids_BT = unquantized(folder), torch.randint(1, 10240, (1, 30))
    leaves = leaves_of(model.config)
    with torch.no_grad():
        logits_B1V = Decoder(model.config, model.weights, leaves)(ids_BT, None)
    assert difference(logits_B1V, truth(folder, ids_BT)[:, -1:]) < TOLERANCE


def mutant(model: QuantizedModel[DecoderConfig], change: Callable[[AttentionConfig], Any]) -> Any:
    layers = tuple(replace(layer, **change(layer)) for layer in model.config.layers)
    return replace(model, config=replace(model.config, layers=layers))


MUTANTS: dict[str, Callable[[AttentionConfig], dict[str, Any]]] = {
    "window - 1": lambda layer: {"window": layer.window and layer.window - 1},
    "window + 1": lambda layer: {"window": layer.window and layer.window + 1},
    "no window": lambda layer: {"window": None},
    "window on global layers": lambda layer: {"window": 128},
    "rope on global layers": lambda layer: {"rotary": True},
    "no rope": lambda layer: {"rotary": False},
}


@pytest.mark.parametrize("change", MUTANTS.values(), ids=MUTANTS.keys())
def test_another_attention_is_far_off(
    trained: QuantizedModel[DecoderConfig],
    passages: dict[str, Tensor],
    expected: Tensor,
    change: Callable[[AttentionConfig], dict[str, Any]],
) -> None:
    logits = reference_logits(mutant(trained, change), passages["en"])
    assert difference(logits, expected[:1]) > 100 * TOLERANCE


def test_half_split_rope_is_far_off(
    trained: QuantizedModel[DecoderConfig],
    passages: dict[str, Tensor],
    expected: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def half_split(x_BTHE: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
        low, high = x_BTHE.chunk(2, -1)
        cos, sin = cos_TP[:, None], sin_TP[:, None]
        return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)

    monkeypatch.setattr(attention, "rotate", half_split)
    assert difference(reference_logits(trained, passages["en"]), expected[:1]) > 100 * TOLERANCE


def test_other_theta_epsilon_and_scale_are_far_off(
    trained: QuantizedModel[DecoderConfig], passages: dict[str, Tensor], expected: Tensor
) -> None:
    for change in ({"rope_theta": 10000.0}, {"norm_eps": 1e-2}, {"logit_scale": 0.0625}):
        other = replace(trained, config=replace(trained.config, **change))
        logits = reference_logits(other, passages["en"])
        assert difference(logits, expected[:1]) > 100 * TOLERANCE, change
