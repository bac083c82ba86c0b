"""A folder that is no checkpoint of this architecture is refused by name, with the way out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoint import ABSENT, write_index
from torch import Tensor

from tinyaya.export.errors import (
    CheckpointError,
    ConfigError,
    ExportError,
    TensorError,
    TokenizerError,
)
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint

EditConfig = Callable[..., None]
Shard = Callable[[], dict[str, Any]]
Q_PROJ = "model.layers.0.self_attn.q_proj"
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


def refused(folder: Path, error: type[ExportError], *words: str) -> None:
    """Opening and reading the folder raises exactly `error`, and its message holds `words`."""
    with pytest.raises(error) as caught:
        read_all(open_checkpoint(folder))
    assert caught.type is error
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, str(caught.value)


def read_all(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {name: checkpoint.read(name) for name in checkpoint.names}


def test_whole_checkpoint_reads_back(folder: Path, tensors: dict[str, Tensor]) -> None:
    read = read_all(open_checkpoint(folder))
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_shards_read_back(folder: Path, tensors: dict[str, Tensor], shard: Shard) -> None:
    shard()
    read = read_all(open_checkpoint(folder))
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_links_to_files_elsewhere_are_followed(folder: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("blobs") / "0a1b"
    (folder / SINGLE).rename(elsewhere)
    (folder / SINGLE).symlink_to(elsewhere)
    read_all(open_checkpoint(folder))


# The folder and its files


def test_missing_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none", CheckpointError, "none is not a folder", "Hugging Face")


def test_file_in_place_of_the_folder(folder: Path) -> None:
    refused(folder / "config.json", CheckpointError, "config.json is not a folder")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ("config.json", "cannot read", "download")),
        ("", ("config.json", "cannot read")),
        ("[1]", ("config.json", "expected a JSON object", "list")),
        ("null", ("expected a JSON object", "NoneType")),
        ("[" * 100_000, ("config.json", "cannot read")),
    ],
    ids=["cut", "empty", "list", "null", "deep"],
)
def test_config_is_not_an_object(folder: Path, text: str, words: tuple[str, ...]) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    refused(folder, CheckpointError, *words)


def test_config_is_not_utf8(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"model_type": "\xff"}')
    refused(folder, CheckpointError, "config.json", "cannot read")


def test_missing_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    refused(folder, CheckpointError, str(folder), "no config.json", "download")


def test_missing_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    refused(folder, TokenizerError, "no tokenizer.json", "download")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model": {"type": "Unigram", "vocab": []}}'])
def test_tokenizer_of_another_kind(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    refused(folder, TokenizerError, "tokenizer.json")


def test_tokenizer_with_more_tokens_than_rows(folder: Path, edit_config: EditConfig) -> None:
    edit_config(vocab_size=10_000)
    refused(folder, TokenizerError, "10239", "10000", "different models")


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_side_file_is_not_an_object(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    refused(folder, CheckpointError, name)


def test_side_files_may_be_absent(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    read_all(open_checkpoint(folder))


# Weights


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_truncated_weights(folder: Path, size: int) -> None:
    whole = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(whole[:size])
    refused(folder, CheckpointError, SINGLE, "not a whole safetensors file", "download it again")


def test_weights_that_are_no_safetensors(folder: Path) -> None:
    (folder / SINGLE).write_bytes(b"\xff" * 1000)
    refused(folder, CheckpointError, SINGLE, "not a whole safetensors file")


def test_no_weights(folder: Path) -> None:
    (folder / SINGLE).unlink()
    refused(folder, CheckpointError, SINGLE, INDEX, "download")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "weights.pkl", "consolidated.pth"]
)
def test_pickled_weights_only(folder: Path, name: str) -> None:
    (folder / SINGLE).rename(folder / name)
    refused(folder, CheckpointError, "pickled", "can run code", "convert them to safetensors")


def test_shard_absent(folder: Path, shard: Shard) -> None:
    shard()
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(folder, CheckpointError, "lacks model-00002-of-00002.safetensors", "download it again")


def test_index_promises_a_tensor_that_its_shard_lacks(folder: Path, shard: Shard) -> None:
    index = shard()
    other = index["weight_map"]["model.layers.0.input_layernorm.weight"]
    index["weight_map"][f"{Q_PROJ}.weight"] = other
    write_index(folder, index)
    refused(folder, TensorError, other, f"promises {Q_PROJ}.weight", "download")


def test_shard_holds_a_tensor_that_its_index_does_not_name(folder: Path, shard: Shard) -> None:
    shard()
    path = folder / "model-00002-of-00002.safetensors"
    save_file({**load_file(path), f"{Q_PROJ}.bias": torch.ones(8)}, path)
    refused(folder, TensorError, path.name, f"{Q_PROJ}.bias", "index", "download")


@pytest.mark.parametrize(
    "shard_name",
    ["../other/model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", ".", 3, None],
    ids=repr,
)
def test_index_with_a_path_outside_the_folder(
    folder: Path, shard: Shard, shard_name: object
) -> None:
    index = shard()
    index["weight_map"][f"{Q_PROJ}.weight"] = shard_name
    write_index(folder, index)
    refused(folder, CheckpointError, INDEX, repr(shard_name), "not a plain file name")


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": None}], ids=str)
def test_index_without_a_map(folder: Path, shard: Shard, index: object) -> None:
    shard()
    write_index(folder, index)
    refused(folder, CheckpointError, INDEX, "weight_map")


def test_index_not_json(folder: Path, shard: Shard) -> None:
    shard()
    (folder / INDEX).write_text("{", encoding="utf-8")
    refused(folder, CheckpointError, INDEX, "cannot read")


def save(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, folder / SINGLE)


def test_tensor_missing(folder: Path, tensors: dict[str, Tensor]) -> None:
    del tensors[f"{Q_PROJ}.weight"]
    save(folder, tensors)
    refused(folder, TensorError, f"{Q_PROJ}.weight is missing", "download it again")


def test_layer_missing(folder: Path, tensors: dict[str, Tensor]) -> None:
    save(folder, {name: value for name, value in tensors.items() if ".layers.3." not in name})
    refused(folder, TensorError, "model.layers.3.", "and 5 more are missing")


@pytest.mark.parametrize("name", ["model.layers.4.mlp.up_proj.weight", "x"])
def test_surplus_tensor(folder: Path, tensors: dict[str, Tensor], name: str) -> None:
    save(folder, {**tensors, name: torch.zeros(2, 2)})
    refused(folder, TensorError, SINGLE, f"surplus tensor {name}", "not a plain Cohere2")


@pytest.mark.parametrize("shape", [(8, 9), (9, 8), (64,), (1, 8, 8)], ids=str)
def test_wrong_shape(folder: Path, tensors: dict[str, Tensor], shape: tuple[int, ...]) -> None:
    save(folder, {**tensors, f"{Q_PROJ}.weight": torch.ones(shape)})
    refused(folder, TensorError, f"{Q_PROJ}.weight", str(shape), "expected (8, 8)", "config.json")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_values_that_are_no_plain_floats(
    folder: Path, tensors: dict[str, Tensor], dtype: torch.dtype
) -> None:
    save(folder, {**tensors, f"{Q_PROJ}.weight": torch.ones(8, 8).to(dtype)})
    refused(folder, TensorError, f"{Q_PROJ}.weight", "expected BF16, F16, F32", "not quantized")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_value_not_finite(
    folder: Path, tensors: dict[str, Tensor], value: float, dtype: torch.dtype
) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    tensors[f"{Q_PROJ}.weight"][3, 4] = value
    save(folder, tensors)
    refused(folder, TensorError, f"{Q_PROJ}.weight", "NaN or infinite", "download it again")


def test_zero_biases_are_dropped(folder: Path, tensors: dict[str, Tensor]) -> None:
    biases = {f"{Q_PROJ}.bias": torch.zeros(8), "model.norm.bias": torch.zeros(8)}
    save(folder, {**tensors, **biases})
    checkpoint = open_checkpoint(folder)
    assert read_all(checkpoint).keys() == checkpoint.tensors.keys() == tensors.keys()


@pytest.mark.parametrize("value", [1e-30, -1.0, torch.nan])
def test_other_biases_are_refused(folder: Path, tensors: dict[str, Tensor], value: float) -> None:
    bias = torch.zeros(8)
    bias[7] = value
    save(folder, {**tensors, f"{Q_PROJ}.bias": bias})
    refused(folder, TensorError, f"{Q_PROJ}.bias is not zero", "not supported")


# The config: each row a change, and words of the message

W, G = "sliding_attention", "full_attention"
REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"model_type": "llama"}, ("'llama'", "'cohere2' and 'cohere'")),
    ({"model_type": "cohere"}, ("sliding_window", "another computation", "None")),
    ({"model_type": ABSENT}, ("None", "'cohere2'")),
    ({"use_qk_norm": True}, ("use_qk_norm", "True", "another computation", "False")),
    ({"rope_scaling": {"type": "linear", "factor": 2}}, ("rope_scaling", "linear")),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 4}}, ("rope_type", "yarn", "default")),
    ({"rope_parameters": {"type": "linear", "rope_theta": 5e4}}, ("type", "linear", "default")),
    ({"rope_parameters": {"rope_theta": 5e4, "factor": 2.0}}, ("factor", "2.0", "rope_theta")),
    ({"rope_parameters": {W: {"rope_theta": 5e4}}}, (W, "rope_theta")),
    ({"rope_parameters": 3}, ("rope_parameters", "3", "object")),
    ({"rope_parameters": {"rope_theta": "1"}}, ("rope_theta", "'1'", "positive number")),
    ({"rope_parameters": ABSENT, "rope_theta": 0}, ("rope_theta", "0", "positive number")),
    ({"hidden_act": "gelu"}, ("hidden_act", "gelu", "silu")),
    ({"attention_bias": True}, ("attention_bias", "True", "False")),
    ({"quantization_config": {"bits": 4}}, ("quantization_config", "4")),
    ({"use_parallel_block": False}, ("use_parallel_block", "True")),
    ({"position_embedding_type": "rope"}, ("position_embedding_type", "rope_gptj")),
    ({"layer_types": [W, W, "chunked_attention", G]}, ("chunked_attention", W, G)),
    ({"layer_types": [W, W, {}, G]}, ("layer_types", "{}")),
    ({"layer_types": [W, W, None, 3]}, ("3, None",)),
    ({"layer_types": [W, W, G]}, ("3 layers", "num_hidden_layers is 4")),
    ({"layer_types": 4}, ("layer_types", "expected a list")),
    ({"layer_types": W}, ("layer_types", "expected a list")),
    ({"layer_types": ABSENT, "sliding_window_pattern": 0}, ("sliding_window_pattern", "0")),
    ({"layer_types": ABSENT, "sliding_window_pattern": "4"}, ("sliding_window_pattern", "'4'")),
    ({"layer_types": ABSENT, "layer_switch": 2.0}, ("layer_switch", "2.0")),
    ({"sliding_window": ABSENT}, ("sliding_window", "None")),
    ({"sliding_window": None}, ("sliding_window", "None")),
    ({"sliding_window": 0}, ("sliding_window", "0")),
    ({"sliding_window": True}, ("sliding_window", "True")),
    ({"num_attention_heads": 3}, ("3 query heads", "do not fit")),
    ({"num_attention_heads": 16}, ("16 query heads", "do not fit")),
    ({"head_dim": 8}, ("head_dim 8", "do not fit")),
    ({"hidden_size": 6, "head_dim": 3}, ("head_dim 3", "even")),
    ({"num_key_value_heads": 3}, ("3 key-value heads", "divide")),
    ({"num_key_value_heads": "1"}, ("num_key_value_heads", "'1'", "whole number")),
    ({"num_key_value_heads": 0}, ("num_key_value_heads", "0", "whole number")),
    ({"head_dim": 4.0}, ("head_dim", "4.0", "whole number")),
    ({"hidden_size": "8"}, ("hidden_size", "'8'", "whole number")),
    ({"hidden_size": True}, ("hidden_size", "True", "whole number")),
    ({"hidden_size": 8.0}, ("hidden_size", "8.0", "whole number")),
    ({"intermediate_size": -6}, ("intermediate_size", "-6", "whole number")),
    ({"vocab_size": ABSENT}, ("vocab_size", "None", "whole number")),
    ({"max_position_embeddings": []}, ("max_position_embeddings", "[]", "whole number")),
    ({"num_hidden_layers": None}, ("num_hidden_layers", "None", "whole number")),
    ({"layer_norm_eps": "1e-5"}, ("layer_norm_eps", "'1e-5'", "positive number")),
    ({"layer_norm_eps": -1e-5}, ("layer_norm_eps", "positive number")),
    ({"logit_scale": None}, ("logit_scale", "None", "positive number")),
    ({"logit_scale": float("nan")}, ("logit_scale", "nan", "positive number")),
    ({"logit_scale": float("inf")}, ("logit_scale", "inf", "positive number")),
    ({"logit_scale": 10**400}, ("logit_scale", "positive number")),
    ({"logit_scale": True}, ("logit_scale", "True", "positive number")),
    ({"tie_word_embeddings": "false"}, ("tie_word_embeddings", "'false'", "true or false")),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=lambda value: str(value)[:60])
def test_config_that_means_something_else(
    folder: Path, edit_config: EditConfig, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    edit_config(**changes)
    refused(folder, ConfigError, *words)


ACCEPTED: list[dict[str, Any]] = [
    {"rope_scaling": None, "use_qk_norm": False, "attention_bias": None},
    {"rope_parameters": ABSENT, "rope_theta": 50000},
    {"rope_theta": 10000.0},  # rope_parameters, which are there too, win as in transformers
    {"rope_parameters": {"type": "default", "rope_theta": 50000.0}},
    {"layer_types": ABSENT, "sliding_window_pattern": 4, "layer_switch": 4},
    {"layer_types": ABSENT},
    {"layer_types": [G] * 4, "sliding_window": None},
    {"head_dim": ABSENT},
    {"an_unknown_key": {"of": "no meaning"}},
]


@pytest.mark.parametrize("changes", ACCEPTED, ids=lambda value: str(value)[:60])
def test_config_in_another_spelling(
    folder: Path, edit_config: EditConfig, changes: dict[str, Any]
) -> None:
    edit_config(**changes)
    config = open_checkpoint(folder).config
    assert config.rope_theta == 50000.0
    assert config.layers[-1].window is None


def test_absent_keys_have_the_defaults_of_the_architecture(
    folder: Path, edit_config: EditConfig
) -> None:
    keys = ("logit_scale", "layer_norm_eps", "rope_parameters", "tie_word_embeddings")
    edit_config(**dict.fromkeys(keys, ABSENT))
    config = open_checkpoint(folder).config
    assert (config.logit_scale, config.norm_eps, config.rope_theta) == (0.0625, 1e-5, 10000.0)
    assert config.tied


def test_config_of_another_size_than_the_weights(folder: Path, edit_config: EditConfig) -> None:
    edit_config(intermediate_size=7)
    refused(folder, TensorError, "mlp", "(6, 8)", "(7, 8)")


def test_untied_config_needs_a_head(folder: Path, edit_config: EditConfig) -> None:
    edit_config(tie_word_embeddings=False)
    refused(folder, TensorError, "lm_head.weight is missing")


def test_config_is_refused_before_the_weights_are_read(
    folder: Path, edit_config: EditConfig
) -> None:
    (folder / SINGLE).write_bytes(b"")
    edit_config(use_qk_norm=True)
    refused(folder, ConfigError, "use_qk_norm")
