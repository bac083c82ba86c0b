"""Whatever stands in the JSON files, opening a checkpoint succeeds or raises an ExportError."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny_checkpoint import ABSENT, CONFIG, NANO

from tinyaya.export.decoder.config import DecoderConfig, parse_config
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.errors import ConfigError, ExportError
from tinyaya.export.source.checkpoint import open_checkpoint

OTHER_KEYS = (
    "sliding_window_pattern",
    "layer_switch",
    "rope_theta",
    "rope_scaling",
    "use_qk_norm",
    "rotary_pct",
    "quantization_config",
)
WORDS = st.sampled_from(
    ["sliding_attention", "full_attention", "default", "rope_type", "rope_theta", "cohere2", "silu"]
)
# Layers are made one by one, so numbers stay such that a million of them is not asked for.
SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 600) | st.floats() | st.text(max_size=5) | WORDS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def changes(keys: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), st.just(ABSENT) | VALUES, min_size=1, max_size=3)


def changed(original: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**original, **change}.items() if value is not ABSENT}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    for file in ("tokenizer_config.json", "generation_config.json"):
        (folder / file).write_bytes((NANO / file).read_bytes())
    model = {"type": "BPE", "vocab": {"<PAD>": 0, "<BOS_TOKEN>": 2, "<EOS_TOKEN>": 3}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    shapes = tensor_shapes(parse_config(CONFIG))
    save_file(
        {name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "model.safetensors"
    )
    return folder


@settings(max_examples=400, deadline=None)
@given(changes([*CONFIG, *OTHER_KEYS]))
def test_config_is_parsed_or_refused(change: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        config = parse_config(changed(CONFIG, change))
        assert isinstance(config, DecoderConfig)
        assert all(type(size) is int and size > 0 for size in sizes(config))
        assert all(type(number) is float for number in (config.rope_theta, config.logit_scale))


def sizes(config: DecoderConfig) -> list[int | None]:
    windows = [layer.window for layer in config.layers if layer.window is not None]
    heads = [n for layer in config.layers for n in (layer.heads, layer.kv_heads, layer.head_dim)]
    return [config.vocab_size, config.width, config.ffn_width, config.max_context, *windows, *heads]


@pytest.mark.parametrize("name", ["config", "generation_config", "tokenizer_config"])
def test_checkpoint_opens_or_is_refused(whole: Path, name: str) -> None:
    path = whole / f"{name}.json"
    text = path.read_text(encoding="utf-8")
    original = json.loads(text)

    @settings(max_examples=100, deadline=None)
    @given(changes([*original]))
    def check(change: dict[str, Any]) -> None:
        path.write_text(json.dumps(changed(original, change)), encoding="utf-8")
        with contextlib.suppress(ExportError):
            open_checkpoint(whole)

    try:
        check()
    finally:
        path.write_text(text, encoding="utf-8")
