"""The tensors that a checkpoint must hold are those of transformers' model, no less, no more."""

from typing import Any

import pytest
import torch

from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes


@pytest.mark.l1
@pytest.mark.parametrize(
    "sizes",
    [
        {"tie_word_embeddings": True},
        {"tie_word_embeddings": False},
        {"num_key_value_heads": 1, "num_hidden_layers": 7},
        {"num_key_value_heads": 8, "tie_word_embeddings": False},
    ],
    ids=str,
)
def test_names_and_shapes_are_those_of_transformers(sizes: dict[str, Any]) -> None:
    from transformers import Cohere2Config, Cohere2ForCausalLM

    config = Cohere2Config(
        **{
            "vocab_size": 300,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            **sizes,
        }
    )
    with torch.device("meta"):
        state = Cohere2ForCausalLM(config).state_dict()
    if config.tie_word_embeddings:
        del state["lm_head.weight"]  # the same tensor as the table, saved once
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert tensor_shapes(parse_config(config.to_dict())) == expected
