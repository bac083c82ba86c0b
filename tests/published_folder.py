"""Makes Cohere2 folders in the forms in which people have them, of a plain one."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

Files = dict[str, dict[str, Any]]  # file name -> parsed JSON

_TEMPLATE_FILE = "tokenizer_config.json"
_RAG = {"name": "rag", "template": "{{ raise_exception('no documents') }}"}
_TOOLS = {"name": "tool_use", "template": "{{ raise_exception('no tools') }}"}


def _config_of_4(files: Files) -> None:
    """As transformers 4.5x writes it."""
    config = files["config.json"]
    config |= {
        "rope_theta": config.pop("rope_parameters")["rope_theta"],
        "torch_dtype": config.pop("dtype", "bfloat16"),
        "sliding_window_pattern": config["layer_types"].index("full_attention") + 1,
        "cache_implementation": "hybrid",
        "use_qk_norm": False,
        "rope_scaling": None,
    }
    del config["layer_types"]


def _config_of_both(files: Files) -> None:
    """Old keys beside new ones."""
    config = files["config.json"]
    config |= {"use_qk_norm": False, "torch_dtype": "bfloat16"}
    config["sliding_window_pattern"] = config["layer_types"].index("full_attention") + 1
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]


def _tokenizer_class(name: str | None) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[_TEMPLATE_FILE].pop("tokenizer_class", None)
        if name:
            files[_TEMPLATE_FILE]["tokenizer_class"] = name

    return change


def _as_cohere_converts(files: Files) -> None:
    """The further fields of Cohere's published conversion script."""
    files[_TEMPLATE_FILE] |= {
        "tokenizer_class": "CohereTokenizerFast",
        "legacy": True,
        "model_max_length": 10**30,
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "unk_token": None,
        "use_default_system_prompt": False,
    }


def _template_list(*others: dict[str, str]) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        text = files[_TEMPLATE_FILE]["chat_template"]
        named = {"name": "default", "template": text}
        files[_TEMPLATE_FILE]["chat_template"] = [*others, named]

    return change


def _template_json(files: Files) -> None:
    files["chat_template.json"] = {"chat_template": files[_TEMPLATE_FILE].pop("chat_template")}


def _template_jinja(files: Files) -> None:
    files["chat_template.jinja"] = {"text": files[_TEMPLATE_FILE].pop("chat_template")}


def _stops_at_3(files: Files) -> None:
    files["generation_config.json"]["eos_token_id"] = 3


def _added_decoder(files: Files) -> None:
    """The same added tokens, listed by id as well."""
    rows = files["tokenizer.json"]["added_tokens"]
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    files[_TEMPLATE_FILE]["added_tokens_decoder"] = {
        str(row["id"]): {key: row[key] for key in flags} for row in rows
    }


def _added_json(files: Files) -> None:
    rows = files["tokenizer.json"]["added_tokens"]
    files["added_tokens.json"] = {row["content"]: row["id"] for row in rows}


def _truncated(files: Files) -> None:
    """What tools for calibration leave in the file."""
    files["tokenizer.json"] |= {
        "truncation": {
            "direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 32}, "direction": "Left", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<PAD>",
        },
    }  # fmt: skip


def _of_command_r(files: Files) -> None:
    """The tokenizer of Cohere's other models: every digit for itself."""
    byte_level = files["tokenizer.json"]["pre_tokenizer"]["pretokenizers"][-1]
    steps = [{"type": "Digits", "individual_digits": True}, {**byte_level, "use_regex": True}]
    files["tokenizer.json"] |= {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
    }


def _without_template(files: Files) -> None:
    del files[_TEMPLATE_FILE]["chat_template"]


def _of_32k(files: Files) -> None:
    files["config.json"]["max_position_embeddings"] = 32768


def _ends_texts(files: Files) -> None:
    """With EOS, as for training."""
    post, end = files["tokenizer.json"]["post_processor"], "<EOS_TOKEN>"
    for form in ("single", "pair"):
        post[form].append({"SpecialToken": {"id": end, "type_id": 0}})
    post["special_tokens"][end] = {"id": end, "ids": [3], "tokens": [end]}


# Name -> what is changed; each is to give the bundle of the plain folder.
FORMS: dict[str, tuple[Callable[[Files], None], ...]] = {
    "as Cohere converts": (_config_of_4, _as_cohere_converts, _stops_at_3, _added_decoder),
    "transformers 5": (_config_of_both, _tokenizer_class("CohereTokenizer"), _template_jinja),
    "saved again": (_tokenizer_class("TokenizersBackend"), _template_jinja, _added_json),
    "no class, named templates": (_tokenizer_class(None), _template_list(_RAG, _TOOLS)),
    "one named template": (_template_list(), _truncated),
    "template in JSON": (_template_json, _config_of_4, _truncated, _stops_at_3),
}

# Other models in their forms, whose bundles differ by right.
MODELS: dict[str, tuple[Callable[[Files], None], ...]] = {
    "Command R's tokenizer": (_config_of_4, _as_cohere_converts, _of_command_r),
    "base": (_config_of_4, _as_cohere_converts, _without_template),
    "base-32K": (_config_of_4, _as_cohere_converts, _without_template, _of_32k, _ends_texts),
    "thinker": (_config_of_both, _tokenizer_class("CohereTokenizer"), _of_32k, _ends_texts),
}
_SHARDED = ("as Cohere converts", "base-32K")  # in two files with an index
_BIASED = ("base-32K", "thinker")  # with biases that are zero


def write_form(plain: Path, folder: Path, form: str, *, linked: bool = False) -> Path:
    """Write the form `form` of the folder `plain`, whose weights are linked.

    linked: as a Hub cache has it: `snapshots/<revision>/` of links into `blobs/`.
    """
    files: Files = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in plain.glob("*.json")
    }
    for change in (FORMS | MODELS)[form]:
        change(files)
    blobs = folder / "blobs" if linked else folder
    target = folder / "snapshots" / ("0" * 40) if linked else folder
    for one in {blobs, target}:
        one.mkdir(parents=True)
    _write_weights(plain / "model.safetensors", blobs, form)
    for name, value in files.items():
        text = value["text"] if name.endswith(".jinja") else json.dumps(value, ensure_ascii=False)
        (blobs / name).write_text(text, encoding="utf-8")
    if linked:
        for path in blobs.iterdir():
            (target / path.name).symlink_to(Path("..", "..", "blobs", path.name))
    return target


def _write_weights(plain: Path, folder: Path, form: str) -> None:
    if form not in _SHARDED + _BIASED:
        os.link(plain, folder / plain.name)
        return
    tensors = load_file(plain)
    if form in _BIASED:
        biased = [name for name in tensors if name.startswith("model.layers.")]
        biases = {name[: -len("weight")] + "bias": tensors[name][..., 0] * 0 for name in biased}
        biases |= {
            name: tensors[name[: -len("bias")] + "weight"] * 0 for name in biases if "norm" in name
        }
        tensors |= {name: bias.contiguous() for name, bias in biases.items()}
    names, half = sorted(tensors), len(tensors) // 2
    shards = [{name: tensors[name] for name in part} for part in (names[:half], names[half:])]
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / name, {"format": "pt"})
        where |= dict.fromkeys(shard, name)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
