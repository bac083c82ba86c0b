"""Brings a checkpoint's tokenizer into the form that every client reads the same way.

Tiny Aya's tokenizer splits text twice, digits first. ExecuTorch's and onnxruntime-genai's own
tokenizers get two splits wrong without a warning; one merged split is exact in all of them.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as HuggingFaceTokenizer

from tinyaya.export.errors import TokenizerError

TOKENIZER_FILE = "tokenizer.json"
Encode = Callable[[str], list[int]]

_DIGITS_PATTERN = r"\d{1,3}(?=(?:\d{3})*\b)"
# Tokens that end an answer although a generation_config may not list them.
_TURN_END_TOKENS = ("<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>")


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """What a bundle needs of a tokenizer.

    definition: `tokenizer.json` in merged form. unused: half-open ranges of table rows that no
    token has, never to be sampled. sampling: the checkpoint's defaults.
    """

    definition: Mapping[str, Any] = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    chat_template: str | None = field(repr=False)
    bos: int
    pad: int
    stop: tuple[int, ...]
    unused: tuple[tuple[int, int], ...]
    sampling: Mapping[str, float]


def open_tokenizer(
    folder: Path, config: Mapping[str, Any], generation: Mapping[str, Any], files: Mapping[str, Any]
) -> Tokenizer:
    """Tokenizer of the checkpoint in `folder`.

    config, generation, files: the parsed config.json, generation_config.json and
    tokenizer_config.json. Raises TokenizerError for a tokenizer that is absent or of another kind.
    """
    definition = _read_definition(folder / "tokenizer.json")
    ids = {**definition["model"]["vocab"], **_added(definition)}
    vocab_size = config["vocab_size"]
    if max(ids.values()) >= vocab_size:
        raise TokenizerError(
            f"{folder}: tokenizer.json has id {max(ids.values())}, but the vocabulary table has "
            f"only {vocab_size} rows; the files belong to different models"
        )
    stop = {*_ids(generation.get("eos_token_id")), *_ids(config.get("eos_token_id"))}
    ends = (*_TURN_END_TOKENS, _text(files.get("eos_token")))
    stop |= {ids[token] for token in ends if token in ids}
    bos = _ids(config.get("bos_token_id")) or _ids(ids.get(_text(files.get("bos_token"))))
    if not bos or not stop:
        raise TokenizerError(f"{folder}: no bos_token_id or eos_token_id in config.json")
    return Tokenizer(
        definition=_merged(definition),
        config=files,
        chat_template=_chat_template(folder, files),
        bos=bos[0],
        pad=next(iter(_ids(config.get("pad_token_id"))), 0),
        stop=tuple(sorted(stop)),
        unused=_gaps(set(ids.values()), vocab_size),
        sampling=_sampling(generation),
    )


def _read_definition(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise TokenizerError(
            f"{path.parent} has no tokenizer.json; download it with the checkpoint"
        )
    try:
        definition = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{path}: cannot read: {error}") from error
    model = definition.get("model") if isinstance(definition, dict) else None
    if not isinstance(model, dict) or model.get("type") != "BPE" or not model.get("vocab"):
        raise TokenizerError(f"{path}: expected a byte-level BPE tokenizer of Hugging Face's form")
    read: dict[str, Any] = definition
    return read


def _added(definition: Mapping[str, Any]) -> dict[str, int]:
    return {token["content"]: token["id"] for token in definition.get("added_tokens") or ()}


def _ids(value: object) -> list[int]:
    """Ids from a config value that may be absent, one id or a list."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, int)]


def _text(token: object) -> str:
    """A special token's text; configs write it as a string or an object."""
    return str(token.get("content")) if isinstance(token, dict) else str(token)


def _chat_template(folder: Path, files: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    template = files.get("chat_template")
    if isinstance(template, list):  # several named templates
        rows = [row for row in template if isinstance(row, dict)]
        template = next((row.get("template") for row in rows if row.get("name") == "default"), None)
    if not isinstance(template, str | None):
        raise TokenizerError(f"{folder}: chat_template is {template!r}; expected a jinja template")
    return template


def _gaps(used: set[int], size: int) -> tuple[tuple[int, int], ...]:
    """Half-open ranges of [0, size) that hold no used id."""
    edges = [-1, *sorted(used), size]
    return tuple((a + 1, b) for a, b in pairwise(edges) if b > a + 1)


def _sampling(generation: Mapping[str, Any]) -> dict[str, float]:
    """Temperature (0: greedy), top-k (0: off) and top-p (1: off), as transformers reads them."""
    if not generation.get("do_sample", False):
        return {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    defaults = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return {key: _number(generation, key, default) for key, default in defaults.items()}


def _number(generation: Mapping[str, Any], key: str, default: float) -> float:
    value = generation.get(key) or default
    if not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise TokenizerError(f"generation_config.json says {key} = {value!r}; expected a number")
    return type(default)(value)


def _merged(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with its two splits merged into one; any other form is left as it is.

    A run of spaces before digits must stay whole, because the first split had cut it off there.
    """
    steps = (definition.get("pre_tokenizer") or {}).get("pretokenizers") or []
    if not _splits_digits_first(steps):
        return dict(definition)
    second = steps[1]["pattern"]["Regex"]
    split = {**steps[1], "pattern": {"Regex": rf"{_DIGITS_PATTERN}|\s+(?=\d)|{second}"}}
    return {
        **definition,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, *steps[2:]]},
    }


def _splits_digits_first(steps: Sequence[Mapping[str, Any]]) -> bool:
    splits = [step for step in steps[:2] if step.get("type") == "Split"]
    return (
        len(splits) == 2
        and splits[0]["pattern"] == {"Regex": _DIGITS_PATTERN}
        and "Regex" in splits[1]["pattern"]
        and all(split["behavior"] == "Isolated" and not split["invert"] for split in splits)
    )


def hugging_face_encoder(folder: Path) -> Encode:
    """Text -> ids, without special tokens, by the folder's `tokenizer.json`."""
    path = folder / TOKENIZER_FILE
    try:
        tokenizer = HuggingFaceTokenizer.from_file(str(path))
    except Exception as error:  # the library raises no other kind
        raise TokenizerError(f"{path}: cannot read: {error}; download it again") from error
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)
