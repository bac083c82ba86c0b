"""A tiny bundle: its tokenizer knows single bytes, its engine follows a script."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from tinyaya.runtime import Manifest
from tinyaya.runtime.engines.base import EngineState, Mark

SPECIAL = ["<PAD>", "<UNK>", "<BOS>", "<EOS>", "<TURN>"]
BOS, EOS, TURN = 2, 3, 4
UNUSED = (261, 264)
VOCAB_SIZE, CONTEXT, CHUNK = 264, 40, 4


class ScriptedEngine:
    """Wants `script[end]` next, else the byte "x"; wants ids without token even more."""

    script: Mapping[int, int] = {}
    rows = 1

    def __init__(self, folder: Path, manifest: Manifest, threads: int | None) -> None:
        self.calls: list[Any] = []
        self.rewindable = True

    def step(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        self.calls.append((len(ids), position))
        return self._logits(position + len(ids))

    def step_rows(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        self.calls.append((len(ids), position))
        return np.stack([self._logits(position + 1 + row) for row in range(len(ids))])

    def _logits(self, end: int) -> NDArray[np.float32]:
        logits_V = np.zeros(VOCAB_SIZE, np.float32)
        logits_V[self.script.get(end, byte_ids("x")[0])] = 50
        logits_V[slice(*UNUSED)] = 1000
        return logits_V

    def restore(self) -> None:
        self.calls.append("restore")

    def can_rewind(self, position: int) -> bool:
        return self.rewindable

    def keeps(self, position: int, end: int) -> bool:
        return self.rewindable

    def take(self, position: int) -> EngineState:
        return EngineState(mark=Mark(written=position, restoring=False), caches=())

    def put(self, state: EngineState) -> None:
        self.calls.append(("put", state.mark.written))

    def fork(self) -> "ScriptedEngine":
        return copy(self)


def byte_tokenizer() -> Tokenizer:
    """Specials, then the 256 bytes in the order of their values; the post-processor adds BOS."""
    tokenizer = Tokenizer(models.BPE({**_alphabet()}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<BOS> $A", special_tokens=[("<BOS>", BOS)]
    )
    return tokenizer


def byte_ids(text: str) -> list[int]:
    return [len(SPECIAL) + byte for byte in text.encode()]


def write_bundle(folder: Path, *, template: str | None = None) -> Path:
    folder.mkdir()
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    config = {"bos_token": {"content": "<BOS>"}, "eos_token": "<EOS>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "model.onnx").write_bytes(b"not a program")
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return write_manifest(folder, manifest())


def write_manifest(folder: Path, raw: dict[str, Any]) -> Path:
    """Write `raw` with the files that are there now."""
    files = [path for path in folder.iterdir() if path.name != "manifest.json"]
    raw["files"] = {
        path.name: {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    }
    (folder / "manifest.json").write_text(json.dumps(raw))
    return folder


def manifest() -> dict[str, Any]:
    return {
        "format": "tinyaya-bundle",
        "format_version": 1,
        "engine": "onnx",
        "program": "model.onnx",
        "model": {
            "model_type": "cohere2", "layers": 2, "width": 8, "heads": 2, "kv_heads": 1,
            "head_dim": 4, "vocab_size": VOCAB_SIZE, "window": 8, "parameters": 1,
        },
        "recipe": {"name": "int4"},
        "limits": {"context": CONTEXT, "chunk": CHUNK},
        "cache": [
            {"slots": 11, "kv_heads": 1, "head_dim": 4},
            {"slots": CONTEXT, "kv_heads": 1, "head_dim": 4},
        ],
        "tokens": {"bos": BOS, "pad": 0, "stop": [EOS, TURN], "unused": [list(UNUSED)]},
        "sampling": {"temperature": 0.1, "top_k": 50, "top_p": 0.95},
        "versions": {"tinyaya-export": "0.1.0"},
        "parity": {},
    }  # fmt: skip


def _alphabet() -> dict[str, int]:
    """ByteLevel's printable stand-in of each byte, by the byte's value."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    stand_in = {byte: byte for byte in printable}
    stand_in |= {byte: 256 + index for index, byte in enumerate(others)}
    symbols = {token: index for index, token in enumerate(SPECIAL)}
    return symbols | {chr(stand_in[byte]): len(SPECIAL) + byte for byte in range(256)}
