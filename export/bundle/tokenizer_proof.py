"""Proves that every client's tokenizer gives the same ids for sentences of every script.

The truth is the checkpoint's own tokenizer in Hugging Face's library. The bundle's merged form is
then read by that library, by ExecuTorch's and by onnxruntime-genai's, and no id may differ.
"""

import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnx

from tinyaya.export.errors import TokenizerError
from tinyaya.export.source.tokenizer import TOKENIZER_FILE, Encode, hugging_face_encoder
from tinyaya.runtime.engines.native_stderr import hidden_native_stderr

Golden = Mapping[str, Mapping[str, Any]]

# onnxruntime-genai cuts numbers from the left: it tries the patterns that it knows before others.
KNOWN_LIMITS = {"onnxruntime-genai": {"long numbers"}}


def golden_tokens(original: Path) -> Golden:
    """Name -> text and ids, without special tokens, by the checkpoint's own `tokenizer.json`."""
    text = (files("tinyaya.export.bundle") / "golden_sentences.json").read_text("utf-8")
    sentences = json.loads(text)
    encode = hugging_face_encoder(original.parent)
    return {name: {"text": text, "ids": encode(text)} for name, text in sentences.items()}


def prove_tokenizer(golden: Golden, folder: Path, scratch: Path) -> dict[str, str]:
    """Encode all golden texts with every client's tokenizer from `folder`.

    scratch: an empty folder to work in. Returns client -> "77 of 77"; raises TokenizerError when
    an id differs beyond KNOWN_LIMITS.
    """
    results = {}
    for client, load in _CLIENTS.items():
        with hidden_native_stderr():  # notes on regular expressions
            encode = load(_client_folder(folder, scratch))
            wrong = {name for name, row in golden.items() if encode(row["text"]) != row["ids"]}
        if unexpected := wrong - KNOWN_LIMITS.get(client, set()):
            raise TokenizerError(
                f"{client} splits the golden texts {', '.join(sorted(unexpected))} otherwise than "
                "the checkpoint's tokenizer; this kind of pre-tokenizer is not supported"
            )
        results[client] = f"{len(golden) - len(wrong)} of {len(golden)}"
    return results


def _executorch(folder: Path) -> Encode:
    from pytorch_tokenizers import CppHFTokenizer

    tokenizer = CppHFTokenizer()
    tokenizer.load(str(folder / TOKENIZER_FILE))
    return lambda text: list(tokenizer.encode(text, 0, 0))


def _genai(folder: Path) -> Encode:
    import onnxruntime_genai

    model = onnxruntime_genai.Model(str(folder))
    tokenizer = onnxruntime_genai.Tokenizer(model)
    return lambda text: [int(token) for token in tokenizer.encode(text)]


_CLIENTS = {
    "tokenizers": hugging_face_encoder,
    "pytorch_tokenizers": _executorch,
    "onnxruntime-genai": _genai,
}


def _client_folder(folder: Path, scratch: Path) -> Path:
    """`scratch` with the tokenizer and a model of one node, which genai wants to open first."""
    for name in (TOKENIZER_FILE, "tokenizer_config.json"):
        if not (scratch / name).exists():
            os.link(folder / name, scratch / name)
    helper, kind = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Cast", ["input_ids"], ["logits"], to=kind.FLOAT)],
        "nothing",
        [helper.make_tensor_value_info("input_ids", kind.INT64, ["b", "t"])],
        [helper.make_tensor_value_info("logits", kind.FLOAT, ["b", "t"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, scratch / "model.onnx")
    sizes = ("head_size", "hidden_size", "num_attention_heads", "num_key_value_heads")
    decoder = dict.fromkeys(sizes, 1) | {
        "session_options": {"provider_options": []},
        "filename": "model.onnx",
        "num_hidden_layers": 0,
        "inputs": {"input_ids": "input_ids"},
        "outputs": {"logits": "logits"},
    }
    config = {
        "model": {"type": "decoder", "context_length": 8, "vocab_size": 1, "decoder": decoder},
        "search": {"max_length": 8},
    }
    (scratch / "genai_config.json").write_text(json.dumps(config), encoding="utf-8")
    return scratch
