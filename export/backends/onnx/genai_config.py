"""Writes what onnxruntime-genai needs to run the folder of a bundle as it is."""

from typing import Any

from tinyaya.export.backends.base import TracedModel
from tinyaya.export.decoder.cache import is_ring
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.options import Limits
from tinyaya.export.source.tokenizer import Tokenizer
from tinyaya.runtime.engines.interface import (
    IDS_INPUT,
    LOGITS_OUTPUT,
    MASK_INPUT,
    past_name,
    present_name,
)


def genai_config(traced: TracedModel, tokenizer: Tokenizer, program: str) -> dict[str, Any]:
    """Its content, for the ONNX file `program`."""
    config, limits = traced.config, traced.limits
    temperature = tokenizer.sampling["temperature"]
    return {
        "model": {
            "type": "decoder",
            "bos_token_id": tokenizer.bos,
            "eos_token_id": list(tokenizer.stop),
            "pad_token_id": tokenizer.pad,
            "context_length": limits.context,
            "vocab_size": config.vocab_size,
            "decoder": _decoder(config, limits, program),
        },
        "search": {
            "max_length": limits.context,
            "chunk_size": limits.chunk,
            "past_present_share_buffer": True,
            "do_sample": temperature > 0,
            "temperature": temperature or 1.0,
            "top_k": int(tokenizer.sampling["top_k"]) or 1,
            "top_p": tokenizer.sampling["top_p"],
            "repetition_penalty": 1.0,
        },
    }


def _decoder(config: DecoderConfig, limits: Limits, program: str) -> dict[str, Any]:
    """Sizes, names and caches of the graph."""
    attention = config.layers[0]
    decoder: dict[str, Any] = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": program,
        "head_size": attention.head_dim,
        "hidden_size": config.width,
        "num_attention_heads": attention.heads,
        "num_key_value_heads": attention.kv_heads,
        "num_hidden_layers": len(config.layers),
        "inputs": {
            "input_ids": IDS_INPUT,
            "attention_mask": MASK_INPUT,
            "past_key_names": past_name("%d", "key"),
            "past_value_names": past_name("%d", "value"),
        },
        "outputs": {
            "logits": LOGITS_OUTPUT,
            "present_key_names": present_name("%d", "key"),
            "present_value_names": present_name("%d", "value"),
        },
    }
    rings = [i for i, layer in enumerate(config.layers) if is_ring(layer, limits)]
    if rings:
        decoder["sliding_window"] = {
            "window_size": config.window,
            "slide_key_value_cache": False,
            "slide_inputs": False,
            "layers": rings,
            "cache_slack": limits.chunk - 1,
        }
    return decoder
