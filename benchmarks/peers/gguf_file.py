"""Writes a Cohere2 checkpoint as a GGUF file for llama.cpp, with weights in 16 or 32 bits.

It has no vocabulary: ids go in, logits come out. Rows of queries and keys stay in place, because
llama.cpp rotates interleaved pairs for cohere2, as the checkpoint does.
"""

from math import prod
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from tinyaya.benchmarks.peers import GLOBAL_EVERY
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.model import EMBEDDING, FINAL_NORM
from tinyaya.export.errors import ConfigError
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint

_LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_FLOAT_TYPES = {
    "F32": (torch.float32, GGMLQuantizationType.F32),
    "F16": (torch.float16, GGMLQuantizationType.F16),
    "BF16": (torch.bfloat16, GGMLQuantizationType.BF16),
}
FLOAT_TYPES = tuple(_FLOAT_TYPES)


def write_gguf(source: Path, path: Path, float_type: str = "BF16") -> None:
    """Convert the checkpoint folder `source`; float_type: of the matrices, one of FLOAT_TYPES.

    Tensors are written one at a time: memory peaks at the largest of them, about 6 bytes a weight.
    Raises ConfigError for a model that llama.cpp's cohere2 does not compute.
    """
    checkpoint = open_checkpoint(source)
    _check(checkpoint.config)
    dtype, kind = _FLOAT_TYPES[float_type]
    writer = GGUFWriter(path, "cohere2")
    _add_config(writer, checkpoint.config, source.resolve().name)
    for name in checkpoint.names:
        shape = checkpoint.shapes[name]
        stored = kind if len(shape) > 1 else GGMLQuantizationType.F32
        size = prod(shape) * (dtype.itemsize if len(shape) > 1 else 4)
        any_float = np.dtype(np.float32)  # the writer goes by `raw_dtype`
        writer.add_tensor_info(_gguf_name(name), shape, any_float, size, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in checkpoint.names:
        writer.write_tensor_data(_values(checkpoint, name, dtype))
    writer.close()


def _check(config: DecoderConfig) -> None:
    kinds = [layer.window is None for layer in config.layers]
    if kinds != [index % GLOBAL_EVERY == GLOBAL_EVERY - 1 for index in range(len(kinds))]:
        raise ConfigError("llama.cpp's cohere2 expects window layers with every fourth one global")
    if not config.tied:
        raise ConfigError("llama.cpp's cohere2 expects a head tied to the embedding")


def _add_config(writer: GGUFWriter, config: DecoderConfig, name: str) -> None:
    layer = config.layers[0]
    assert config.window
    writer.add_name(name)
    writer.add_block_count(len(config.layers))
    writer.add_context_length(config.max_context)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.ffn_width)
    writer.add_head_count(layer.heads)
    writer.add_head_count_kv(layer.kv_heads)
    writer.add_key_length(layer.head_dim)
    writer.add_value_length(layer.head_dim)
    writer.add_layer_norm_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(layer.head_dim)
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_sliding_window(config.window)
    writer.add_logit_scale(config.logit_scale)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")


def _gguf_name(name: str) -> str:
    fixed = {
        f"{EMBEDDING}.weight": "token_embd.weight",
        f"{FINAL_NORM}.weight": "output_norm.weight",
    }
    if name in fixed:
        return fixed[name]
    index, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"blk.{index}.{_LAYER_TENSORS[part]}.weight"


def _values(checkpoint: Checkpoint, name: str, dtype: torch.dtype) -> NDArray[np.generic]:
    """The tensor's bytes; numpy has no bfloat16, so they go as int16."""
    tensor = checkpoint.read(name)
    if tensor.dim() == 1 or dtype is torch.float32:
        values: NDArray[np.generic] = tensor.numpy()
    else:
        values = tensor.to(dtype).view(torch.int16).numpy()
    return values
