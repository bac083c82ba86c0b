"""Breaks a checkpoint's folder, and lets the export go as far as its weights."""

import json
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import torch
from safetensors.torch import save_file

from tests.fuzz.mutate import mutated_bytes, mutated_json, survives
from tests.random_checkpoint import CONFIG
from tests.store import NANO
from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.options import ExportOptions, VocabularyOptions
from tinyaya.export.pipeline import export_bundle
from tinyaya.export.vocabulary.bpe import BYTE_CHARACTERS

_INDEX_FILE, _TEMPLATE_FILE = "model.safetensors.index.json", "chat_template.jinja"
_SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
_ROWS, _SPECIAL_TOKENS, _MERGES = 384, 9, 60
_SNIPPETS = (
    "{% for i in range(10**9) %}x{% endfor %}", "{{ 'a' * 10**10 }}", "{{ messages[9].content }}",
    "{% include 'x' %}", "{{ ''.__class__.__mro__ }}", "{{ nobody.knows }}", "{% for", "{{",
    "{{ messages | tojson(indent=10**9) }}", "{{ raise_exception(3) }}", "{% generation %}",
    "{{ strftime_now(3) }}", "{{ 'x' | center(10**9) }}", "{{ 10**(10**7) }}",
    "{% extends bos_token %}", "{% set messages = 3 %}", "{{ 1 / 0 }}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", "{{ cycler() }}", "\ud800", "\x00",
    "{{ lipsum(10**9) }}", "{{ 'a'.ljust(10**10) }}", "{{ [1] * 10**10 }}", "{{ {}.x.y }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ 'x' * 99 }}{% endfor %}{% endfor %}",
)  # fmt: skip
_OPTIONS = tuple(
    ExportOptions(backend=backend, context=64, chunk=16, verify=False, vocabulary=vocabulary)
    for backend in ("onnx", "executorch", "both")
    for vocabulary in (None, VocabularyOptions(languages=("sw",)))
)
_RAW = (b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b'"\xff"', b'"\\ud800"', b"[" * 100_000)


# Steps that libraries panic at, end at or hang at, where they are let.
_STEPS: tuple[Any, ...] = (
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, {"type": "FixedLength", "length": 0},
    {"type": "Replace", "pattern": {"String": ""}, "content": "x"}, {"type": "NFC"},
    {"type": "Split", "pattern": {"Regex": "a*"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": True},
    {"type": "Split", "pattern": {"Regex": "(?<=a+)b"}, "behavior": "Isolated", "invert": False},
    {"type": "Metaspace", "replacement": ""}, {"type": "Digits", "individual_digits": True},
    {"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": True},
    {"type": "Strip", "content": "x", "start": 10**9, "stop": 10**9}, {"type": "Sequence"},
    {"type": "RobertaProcessing", "sep": ["x", 9999], "cls": ["y", 3], "trim_offsets": True,
     "add_prefix_space": True},
    {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}],
     "pair": [], "special_tokens": {"x": {"id": "x", "ids": [9999], "tokens": ["x"]}}},
)  # fmt: skip
_STEP_KEYS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_OPTIONAL_FILES = ("added_tokens.json", "chat_template.json", "chat_template.jinja")


class _WeightsReachedError(BaseException):
    """All that can be told before the work has been told."""


class FolderFuzzer:
    """Writes mutations of a small checkpoint of two shards, in every file that people have."""

    def __init__(self, work: Path) -> None:
        self._work, self._folder = work, work / "folder"
        self._whole = _files(work)

    def target(self, chance: random.Random) -> bool:
        """Whether a mutation came as far as the weights; False where it was refused by name."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for name, data in self._mutated(chance).items():
            (self._folder / name).write_bytes(data)
        options, out = chance.choice(_OPTIONS), self._work / "out"

        def export() -> None:
            with _reaches_weights():
                export_bundle(self._folder, out, options)

        try:
            return survives(export)
        finally:
            assert not out.exists()

    def _mutated(self, chance: random.Random) -> Mapping[str, bytes]:
        files = dict(self._whole)
        for name in _OPTIONAL_FILES:  # which go before others, when they are there
            if chance.random() < 0.3:
                del files[name]
        if chance.random() < 0.3:
            files["config.json"] = files["config.json"].replace(b"layer_types", b"not_there")
        for name in {_chosen(files, chance) for _ in range(chance.choice((1, 1, 2)))}:
            kind = chance.random()
            if kind < 0.05:
                del files[name]
            elif kind < 0.25:
                files[name] = mutated_bytes(files[name], chance)
            elif kind < 0.3:
                files[name] = files[name][: chance.randrange(len(files[name]))]
            else:
                files[name] = _other_content(name, files[name], chance)
        return files


def _chosen(files: Mapping[str, bytes], chance: random.Random) -> str:
    """tokenizer.json as often as three others: most can be wrong there."""
    return chance.choice([*sorted(files), *["tokenizer.json"] * 2])


def _other_content(name: str, data: bytes, chance: random.Random) -> bytes:
    if name == _TEMPLATE_FILE:
        return _other_template(data.decode(), chance).encode("utf-8", "surrogatepass")
    if name.endswith(".safetensors"):
        length = int.from_bytes(data[:8], "little")
        header = _other_json(data[8 : 8 + length], chance)
        return len(header).to_bytes(8, "little") + header + data[8 + length :]
    if name == "tokenizer.json" and chance.random() < 0.1:
        step = {chance.choice(_STEP_KEYS): chance.choice(_STEPS)}
        return json.dumps({**json.loads(data), **step}).encode()
    return _other_json(data, chance)


def _other_json(data: bytes, chance: random.Random) -> bytes:
    """Well-formed for the most part, with other values."""
    text = json.dumps(mutated_json(json.loads(data), chance)).encode()
    kind, colons = chance.random(), [at for at, byte in enumerate(text) if byte == ord(":")]
    if kind < 0.1 and colons:  # a value that no JSON of Python's says
        at = chance.choice(colons) + 1
        end = min(at_ for at_ in (text.find(b",", at), text.find(b"}", at), len(text)) if at_ > 0)
        return text[:at] + chance.choice(_RAW) + text[end:]
    if kind < 0.15 and text[:2] == b'{"':  # a key that is there twice
        end = text.index(b'"', 2)
        return b"%s%s: null, %s" % (text[:1], text[1 : end + 1], text[1:])
    return text


def _other_template(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(_SNIPPETS) + text[at:]


@contextmanager
def _reaches_weights() -> Iterator[None]:
    def reached(*arguments: object) -> NoReturn:
        raise _WeightsReachedError

    try:
        with patch("tinyaya.export.pipeline.build_quantized", reached):
            yield
    except _WeightsReachedError:
        pass


def _files(work: Path) -> dict[str, bytes]:
    """Name -> content of a folder with all that a checkpoint's folder may hold."""
    config: dict[str, Any] = {
        **CONFIG, "vocab_size": _ROWS, "hidden_size": 8, "intermediate_size": 8, "head_dim": 4,
        "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"], "tie_word_embeddings": True,
        "rope_parameters": {"rope_theta": 50000.0, "rope_type": "default"}, "pad_token_id": 0,
    }  # fmt: skip
    shapes = tensor_shapes(parse_config(config))
    index = {"metadata": {"total_size": 1}, "weight_map": {}}
    files = {}
    for shard, names in zip(_SHARDS, (list(shapes)[::2], list(shapes)[1::2]), strict=True):
        save_file({name: torch.ones(shapes[name]) for name in names}, work / shard)
        files[shard] = (work / shard).read_bytes()
        index["weight_map"] |= dict.fromkeys(names, shard)
    read = {
        name: json.loads((NANO / name).read_text(encoding="utf-8"))
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
    }
    template = read["tokenizer_config.json"]["chat_template"]
    tokenizer = _small(read["tokenizer.json"])
    added = {row["content"]: row["id"] for row in tokenizer["added_tokens"]}
    decoder = {str(row["id"]): row for row in tokenizer["added_tokens"]}
    values: dict[str, object] = {
        **read,
        "config.json": config,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {**read["tokenizer_config.json"], "added_tokens_decoder": decoder},
        "added_tokens.json": added,
        "special_tokens_map.json": {"bos_token": "<BOS_TOKEN>"},
        "preprocessor_config.json": {"size": {"height": 364}},
        "chat_template.json": {"chat_template": template},
        _INDEX_FILE: index,
    }
    files |= {name: json.dumps(value).encode() for name, value in values.items()}
    return files | {_TEMPLATE_FILE: template.encode()}


def _small(whole: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer with the bytes, a few merges and the special tokens."""
    model, added = whole["model"], whole["added_tokens"]
    merges = model["merges"][:_MERGES]
    tokens = [row["content"] for row in added]
    tokens += [token for token in BYTE_CHARACTERS if token not in tokens]
    tokens += ["".join(merge if isinstance(merge, list) else merge.split(" ")) for merge in merges]
    vocab = {token: id_ for id_, token in enumerate(dict.fromkeys(tokens))}
    rows = [{**row, "id": vocab[row["content"]]} for row in added]
    return {
        **whole, "added_tokens": rows, "model": {**model, "vocab": vocab, "merges": merges},
    }  # fmt: skip
