"""What people's folders have in them that a plain one has not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_checkpoint import ABSENT
from torch import Tensor

from tinyaya.export.bundle.staging import check_target
from tinyaya.export.errors import CheckpointError, TargetError, TensorError, TokenizerError
from tinyaya.export.source.checkpoint import open_checkpoint
from tinyaya.export.source.tokenizer import hugging_face_encoder

Tensors = dict[str, Tensor]
WEIGHTS, TABLE, HEAD = "model.safetensors", "model.embed_tokens.weight", "lm_head.weight"


def renamed(tensors: Tensors, change: Callable[[str], str]) -> Tensors:
    return {change(name): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f"_orig_mod.{name}",
        lambda name: name.replace("model.", "model.language_model."),
        lambda name: f"language_model.{name}",
    ],
    ids=["compiled", "of a vision model", "of an older vision model"],
)
def test_prefixes_of_tools_are_taken_off(
    folder: Path, tensors: Tensors, change: Callable[[str], str]
) -> None:
    save_file(renamed(tensors, change), folder / WEIGHTS)
    found = open_checkpoint(folder)
    assert all(torch.equal(found.read(name), tensors[name]) for name in found.names)


def test_a_name_that_is_there_twice_is_refused(folder: Path, tensors: Tensors) -> None:
    save_file({**tensors, f"_orig_mod.{TABLE}": tensors[TABLE].clone()}, folder / WEIGHTS)
    with pytest.raises(TensorError, match="are both"):
        open_checkpoint(folder)


def test_float64_and_computed_frequencies_are_read(folder: Path, tensors: Tensors) -> None:
    doubles = {name: tensor.double() for name, tensor in tensors.items()}
    doubles["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(doubles, folder / WEIGHTS)
    found = open_checkpoint(folder)
    assert all(torch.equal(found.read(name), tensors[name]) for name in found.names)


def test_a_head_is_the_embedding_or_refused(folder: Path, tensors: Tensors) -> None:
    save_file({**tensors, HEAD: tensors[TABLE].clone()}, folder / WEIGHTS)
    assert HEAD not in open_checkpoint(folder).names
    save_file({**tensors, HEAD: tensors[TABLE] + 1}, folder / WEIGHTS)
    with pytest.raises(TensorError, match="differs from the embedding"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [("qweight", "GPTQ or AWQ"), ("weight_packed", "compressed-tensors"), ("SCB", "bitsandbytes")],
)
def test_weights_that_are_quantized_are_named(
    folder: Path, tensors: Tensors, ending: str, kind: str
) -> None:
    name = f"model.layers.0.mlp.up_proj.{ending}"
    save_file({**tensors, name: torch.ones(3, dtype=torch.int32)}, folder / WEIGHTS)
    with pytest.raises(TensorError, match=f"quantized already \\({kind}"):
        open_checkpoint(folder)


def test_an_adapter_is_named(tmp_path: Path) -> None:
    raw = {"base_model_name_or_path": "CohereLabs/tiny-aya-global"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="adapter of CohereLabs/tiny-aya-global"):
        open_checkpoint(tmp_path)


def test_default_rope_scaling_is_none(folder: Path, edit_config: Callable[..., None]) -> None:
    edit_config(rope_scaling={"rope_type": "default"})
    assert open_checkpoint(folder).config.rope_theta == 50000.0


def edit_json(path: Path, **changes: Any) -> dict[str, Any]:
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**raw, **changes}, ensure_ascii=False), encoding="utf-8")
    return raw


def test_truncation_and_padding_are_no_part_of_a_tokenizer(folder: Path) -> None:
    text = "word " * 900
    expected = hugging_face_encoder(folder)(text)
    edit_json(
        folder / "tokenizer.json",
        truncation={
            "direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0,
        },
    )  # fmt: skip
    assert hugging_face_encoder(folder)(text) == expected
    assert open_checkpoint(folder).tokenizer.definition["truncation"] is None


def test_a_token_that_only_the_config_adds_is_taken(
    folder: Path, tensors: Tensors, edit_config: Callable[..., None]
) -> None:
    table = torch.cat([tensors[TABLE], tensors[TABLE][:64]])
    save_file({**tensors, TABLE: table}, folder / WEIGHTS)
    edit_config(vocab_size=len(table))
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    known = {**raw["model"]["vocab"], **{row["content"]: row["id"] for row in raw["added_tokens"]}}
    new = max(known.values()) + 1
    row = {"content": "<|tool|>", "special": True}
    edit_json(folder / "tokenizer_config.json", added_tokens_decoder={str(new): row})
    assert hugging_face_encoder(folder)("a<|tool|>b")[1] == new
    assert open_checkpoint(folder).tokenizer.definition["added_tokens"][-1]["id"] == new
    edit_json(folder / "tokenizer_config.json", added_tokens_decoder={str(new + 5): row})
    with pytest.raises(TokenizerError, match=f"written as id {new + 5}"):
        open_checkpoint(folder)


def test_two_tokens_of_one_id_are_named(folder: Path) -> None:
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = [*raw["added_tokens"], {**raw["added_tokens"][-1], "content": "<again>"}]
    edit_json(folder / "tokenizer.json", added_tokens=added)
    with pytest.raises(TokenizerError, match="'<again>' have one id"):
        open_checkpoint(folder)


def test_names_of_tokens_may_be_null(folder: Path) -> None:
    plain = open_checkpoint(folder).tokenizer
    edit_json(folder / "tokenizer_config.json", bos_token=None, eos_token=None, pad_token=None)
    found = open_checkpoint(folder).tokenizer
    assert (found.bos, found.stop) == (plain.bos, plain.stop)
    assert None not in found.config.values()


def test_ids_beyond_the_table_are_left_out_and_said(
    folder: Path, edit_config: Callable[..., None]
) -> None:
    edit_config(pad_token_id=-1, eos_token_id=[3, 99999])
    found = open_checkpoint(folder).tokenizer
    assert found.pad == 0 and 99999 not in found.stop and 3 in found.stop
    assert [note.split(" is left out")[0] for note in found.notes] == [
        "stop or pad id -1",
        "stop or pad id 99999",
    ]


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({"do_sample": True, "temperature": 0.0}, (0.0, 0, 1.0)),
        ({"do_sample": True}, (1.0, 50, 1.0)),
        ({"do_sample": True, "top_k": 0, "temperature": 0.3}, (0.3, 0, 1.0)),
        ({"temperature": 0.3}, (0.0, 0, 1.0)),
    ],
)
def test_sampling_is_what_transformers_does(
    folder: Path, generation: dict[str, Any], expected: tuple[float, ...]
) -> None:
    (folder / "generation_config.json").write_text(json.dumps(generation))
    assert tuple(open_checkpoint(folder).tokenizer.sampling.values()) == expected


@pytest.mark.parametrize("change", [{"top_p": 1.5}, {"top_k": -1}, {"temperature": "warm"}])
def test_sampling_out_of_range_is_refused(folder: Path, change: dict[str, Any]) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True, **change}))
    with pytest.raises(TokenizerError, match=next(iter(change))):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_a_template_that_is_not_utf8_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff")
    with pytest.raises(TokenizerError, match=name):
        open_checkpoint(folder)


def test_named_templates_without_a_default_are_refused(folder: Path) -> None:
    named = [{"name": name, "template": "x"} for name in ("rag", "tool_use")]
    edit_json(folder / "tokenizer_config.json", chat_template=named)
    with pytest.raises(TokenizerError, match="rag, tool_use"):
        open_checkpoint(folder)


def test_a_split_without_fields_is_no_traceback(folder: Path) -> None:
    steps = [{"type": "Split"}, {"type": "Split"}]
    edit_json(folder / "tokenizer.json", pre_tokenizer={"type": "Sequence", "pretokenizers": steps})
    with pytest.raises(TokenizerError, match="cannot read"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"added_tokens": [{"id": 0, "content": ["<PAD>"]}]}, "added_tokens holds"),
        ({"added_tokens": [{"id": 0}]}, "added_tokens holds"),
        ({"model": {"type": "BPE", "vocab": 3, "merges": []}}, "expected a byte-level BPE"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "A"}}, "is 'Precompiled'"),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "is 'FixedLength'"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [3]}}, "pre_tokenizer is '3'"),
        ({"decoder": "ByteLevel"}, "decoder is 'ByteLevel'"),
    ],
)
def test_what_is_no_byte_level_bpe_is_named(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    """Some of it makes the library panic, which Python has no Exception for."""
    edit_json(folder / "tokenizer.json", **changes)
    with pytest.raises(TokenizerError, match=words):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "pattern", [{"String": ""}, *({"Regex": regex} for regex in ("", "a*", "x|", "^", "$", r"\b"))]
)
def test_patterns_that_take_no_character_are_refused(folder: Path, pattern: dict[str, str]) -> None:
    """Stock clients hang at them, or end the process."""
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    edit_json(folder / "tokenizer.json", pre_tokenizer=split)
    with pytest.raises(TokenizerError, match="where no character is"):
        open_checkpoint(folder)


def test_dropout_of_training_is_refused(folder: Path) -> None:
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    edit_json(folder / "tokenizer.json", model={**model, "dropout": 0.1})
    with pytest.raises(TokenizerError, match=r"dropout = 0\.1"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("added_tokens.json", '{"x": Infinity}'),
        ("chat_template.json", r'{"chat_template": "\ud800"}'),
        ("tokenizer_config.json", r'{"bos_token": "\uD800"}'),
    ],
)
def test_numbers_and_texts_that_cannot_be_written_are_refused(
    folder: Path, name: str, text: str
) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"{name}: .*cannot be read|{name}: cannot read"):
        open_checkpoint(folder)


def test_a_count_of_layers_that_no_model_has_is_refused(
    edit_config: Callable[..., None], folder: Path
) -> None:
    for count in (10**9, 10**30):
        edit_config(num_hidden_layers=count, layer_types=ABSENT, sliding_window_pattern=4)
        with pytest.raises(CheckpointError, match="num_hidden_layers"):
            open_checkpoint(folder)


def test_targets_that_cannot_be_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    for target, words in (
        (Path(), "current folder"),
        (tmp_path / "link", "is a link to"),
        (tmp_path / "file" / "out", "is a file"),
    ):
        with pytest.raises(TargetError, match=words):
            check_target(target, force=True)
