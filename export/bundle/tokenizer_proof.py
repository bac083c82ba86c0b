"""Proves that every client's tokenizer gives the same ids for sentences of every script.

The truth is the checkpoint's own tokenizer in Hugging Face's library. The bundle's merged form is
then read by that library, by ExecuTorch's and by onnxruntime-genai's, and no id may differ.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnx

from tinyaya.export.errors import TokenizerError
from tinyaya.export.source.tokenizer import (
    TOKENIZER_FILE,
    Encode,
    hugging_face_encoder,
    read_definition,
)
from tinyaya.runtime.engines.native_stderr import hidden_native_stderr

Golden = Mapping[str, Mapping[str, Any]]


def golden_tokens(encode: Encode) -> Golden:
    """Name -> text and ids, without special tokens, by the checkpoint's own tokenizer."""
    text = (files("tinyaya.export.bundle") / "golden_sentences.json").read_text("utf-8")
    sentences = json.loads(text)
    return {name: {"text": text, "ids": encode(text)} for name, text in sentences.items()}


def prove_tokenizer(golden: Golden, folder: Path, scratch: Path, engine: str) -> dict[str, str]:
    """Encode all golden texts with every client's tokenizer from `folder`, a bundle of `engine`.

    scratch: an empty folder to work in. Returns client -> "77 of 77"; raises TokenizerError when
    an id differs in a client of `engine` beyond its limits. What clients of another engine make
    of it is only counted.
    """
    results, files = {}, _client_folder(folder, scratch)
    limits = _limits(read_definition(folder))
    for client, (load, runs) in _CLIENTS.items():
        try:
            with hidden_native_stderr():  # notes on regular expressions
                encode = load(files)
                wrong = {name for name, row in golden.items() if encode(row["text"]) != row["ids"]}
        except Exception as error:  # of a library that knows no kind of its own
            if engine in runs:
                raise TokenizerError(f"{client} cannot read the tokenizer: {error}") from error
            results[client] = "cannot read it"
            continue
        if engine in runs and (unexpected := wrong - limits.get(client, set())):
            raise TokenizerError(
                f"{client} splits the golden texts {', '.join(sorted(unexpected))} otherwise than "
                "the checkpoint's tokenizer; this kind of pre-tokenizer is not supported"
            )
        results[client] = f"{len(golden) - len(wrong)} of {len(golden)}"
    return results


def _limits(definition: Mapping[str, Any]) -> Mapping[str, set[str]]:
    """Client -> golden texts that it is known to split otherwise."""
    steps = (definition.get("pre_tokenizer") or {}).get("pretokenizers") or []
    # onnxruntime-genai tries the patterns that it knows before others: it cuts numbers from the
    # left, and digits that are to stand alone in threes.
    digits = {"short numbers", "other digits"} if _has_digits(steps) else set()
    return {"onnxruntime-genai": {"long numbers", *digits}}


def _has_digits(steps: Sequence[Mapping[str, Any]]) -> bool:
    return any(step.get("type") == "Digits" for step in steps)


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


# How a client's tokenizer is loaded, and the engines whose bundles it must read.
_CLIENTS: Mapping[str, tuple[Callable[[Path], Encode], Collection[str]]] = {
    "tokenizers": (hugging_face_encoder, ("onnx", "executorch")),
    "pytorch_tokenizers": (_executorch, ("executorch",)),
    "onnxruntime-genai": (_genai, ("onnx",)),
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
