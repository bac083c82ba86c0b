"""Adapters are merged as peft merges them, tensor by tensor; what cannot be is refused by name."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Cohere2ForCausalLM

from tests.random_checkpoint import CONFIG, random_checkpoint
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.errors import AdapterError, ChangedError, TensorError
from tinyaya.export.proof.parity import float_model
from tinyaya.export.source.adapter import with_adapters
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.export.vocabulary.trim import trim_checkpoint

SHALLOW = CONFIG | {"num_hidden_layers": 2, "sliding_window_pattern": 2}
TABLE, HEAD = "model.embed_tokens.weight", "lm_head.weight"
QUERY = "model.layers.0.self_attn.q_proj"
KEY = f"base_model.model.{QUERY}"
IDS = [2, *range(300, 330)]
Saved = Callable[..., Path]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return random_checkpoint(tmp_path_factory.mktemp("base"), SHALLOW)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    config = SHALLOW | {"tie_word_embeddings": False}
    return random_checkpoint(tmp_path_factory.mktemp("untied"), config)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Save what peft makes of options: an adapter whose every value is random."""

    def save(checkpoint: Checkpoint, config: PeftConfig | None = None, **options: Any) -> Path:
        torch.manual_seed(len(str(options)))
        plain = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"]}
        config = config or LoraConfig(**{**plain, **options})
        model = get_peft_model(transformers_model(checkpoint), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
        folder = tmp_path_factory.mktemp("adapters") / "adapter"
        model.save_pretrained(folder)
        return folder

    return save


def transformers_model(checkpoint: Checkpoint) -> Any:
    return Cohere2ForCausalLM.from_pretrained(checkpoint.folder, dtype=torch.float32)


def pefts(checkpoint: Checkpoint, *folders: Path) -> Any:
    """The model after peft's own merge of one adapter after the other."""
    model = transformers_model(checkpoint)
    for folder in folders:
        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    return model.eval()


def assert_same(found: Checkpoint, expected: Any) -> None:
    tensors = expected.state_dict()
    for name in found.names:
        torch.testing.assert_close(found.read(name), tensors[name], atol=1e-6, rtol=1e-6)
    ids = torch.tensor([IDS])
    with torch.no_grad():
        logits = expected(ids).logits
    torch.testing.assert_close(
        reference_logits(float_model(found), ids), logits, atol=1e-4, rtol=0.0
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"0.self_attn.q_proj": 3}},
        {"rank_pattern": {r"layers\.\d+\.mlp.*": 7}, "use_rslora": True},
        {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
        {"fan_in_fan_out": True},
        {"bias": "all"},
        {"use_dora": True},
        {"modules_to_save": ["norm", "input_layernorm", "k_proj"]},
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ],
    ids=lambda options: ", ".join(options) or "plain",
)
def test_an_adapter_is_merged_as_peft_does(
    base: Checkpoint, saved: Saved, options: Mapping[str, Any]
) -> None:
    folder = saved(base, **options)
    found = with_adapters(base, [folder])
    assert any(not torch.equal(found.read(name), base.read(name)) for name in base.names)
    assert_same(found, pefts(base, folder))


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_tables_of_their_own(untied: Checkpoint, saved: Saved, target: str) -> None:
    folder = saved(untied, target_modules=["q_proj", target])
    found = with_adapters(untied, [folder])
    assert_same(found, pefts(untied, folder))
    trimmed = trim_checkpoint(found, range(9024), ["sw"], "safe")  # all that later merges lack
    for name in (TABLE, HEAD):
        torch.testing.assert_close(trimmed.read(name), found.read(name)[:9024])


def test_several_are_merged_in_their_order(base: Checkpoint, saved: Saved) -> None:
    folders = [
        saved(base, use_dora=True),
        saved(base, r=3, target_modules=["q_proj", "k_proj"]),
        saved(base, modules_to_save=["q_proj"], target_modules=["v_proj"]),
        saved(base, r=2, use_rslora=True, use_dora=True),
    ]
    found = with_adapters(base, folders)
    assert_same(found, pefts(base, *folders))
    assert [row.weights_sha256 for row in found.adapters] == [
        row.weights_sha256 for folder in folders for row in with_adapters(base, [folder]).adapters
    ]


@pytest.mark.parametrize("options", [{}, {"use_dora": True}])
def test_rows_alone_are_those_of_the_whole(
    base: Checkpoint, saved: Saved, options: Mapping[str, Any]
) -> None:
    found, name = with_adapters(base, [saved(base, **options)]), f"{QUERY}.weight"
    whole = found.read(name)
    for rows in (range(5, 6), range(60, 64), range(0)):
        torch.testing.assert_close(found.read(name, rows), whole[rows.start : rows.stop])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_modules": ["embed_tokens"]}, "one table"),
        ({"target_modules": ["embed_tokens"], "ensure_weight_tying": True}, "one table"),
        ({"target_modules": ["lm_head"]}, "one table"),
        ({"modules_to_save": ["lm_head"]}, "one table"),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, "ensure_weight_tying"),
        ({"trainable_token_indices": [3, 5]}, "trainable_token_indices"),
        ({"config": IA3Config(target_modules=["q_proj"], feedforward_modules=[])}, "'IA3'"),
        ({"init_lora_weights": "pissa"}, "path_initial_model_for_weight_conversion"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_peft_makes_and_cannot_be_merged(
    base: Checkpoint, saved: Saved, options: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(AdapterError, match=re.escape(words)):
        with_adapters(base, [saved(base, **options)])


def test_magnitudes_of_an_embedding_are_refused(untied: Checkpoint, saved: Saved) -> None:
    with pytest.raises(AdapterError, match=r"embedding_A.*lora_magnitude_vector"):
        with_adapters(untied, [saved(untied, target_modules=["embed_tokens"], use_dora=True)])


def changed(folder: Path, to: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """A copy whose tensors are changed in place."""
    copy = shutil.copytree(folder, to / "adapter")
    tensors = load_file(copy / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, copy / "adapter_model.safetensors")
    return copy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.clear(), "holds no tensors"),
        (lambda t: t.pop(f"{KEY}.lora_A.weight"), f"{QUERY} has lora_B; expected"),
        (lambda t: t.update({f"{KEY}.lora_A.weight": torch.ones(4, 9)}), "(4, 9)"),
        (lambda t: t.update({f"{KEY}.lora_A.weight": torch.ones(4)}), "(4,)"),
        (
            lambda t: t.update(
                {
                    f"{KEY}.lora_A.weight": torch.ones(0, 64),
                    f"{KEY}.lora_B.weight": torch.ones(64, 0),
                }
            ),
            "(64, 0)",
        ),
        (lambda t: t.update({f"{KEY}.lora_A.weight": torch.ones(3, 64)}), "(64, 4) by (3, 64)"),
        (lambda t: t.update({f"{KEY}.lora_B.weight": torch.ones(4, 4).long()}), "I64"),
        (lambda t: t.update({f"{KEY}.lora_magnitude_vector": torch.ones(9)}), "(9,)"),
        (lambda t: t.update({f"{KEY}.bias": torch.ones(9)}), f"no {QUERY}.bias"),
        (lambda t: t.update({f"{KEY}.weight": torch.ones(9)}), "is (9,), that of the model (64, 6"),
        (lambda t: t.update({"base_model.model.score.weight": torch.ones(9)}), "no score.weight"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    base: Checkpoint, saved: Saved, tmp_path: Path, change: Callable, words: str
) -> None:
    with pytest.raises(AdapterError, match=re.escape(words)):
        with_adapters(base, [changed(saved(base), tmp_path, change)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lora_alpha": None}, "alpha of model.layers.0"),
        ({"alpha_pattern": {"q_proj": "3"}}, f"alpha of {QUERY} is '3'"),
        ({"alpha_pattern": {"(": 3}}, "alpha_pattern"),
        ({"alpha_pattern": [3]}, "alpha_pattern"),
        ({"use_dora": True}, "has no lora_magnitude_vector"),
        ({"peft_type": None}, "type None"),
        ({"layer_replication": [[0, 1], [0, 1]]}, "layer_replication"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    ],
)
def test_configs_that_cannot_be_read(
    base: Checkpoint, saved: Saved, tmp_path: Path, change: dict, words: str
) -> None:
    folder = shutil.copytree(saved(base), tmp_path / "adapter")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(AdapterError, match=re.escape(words)):
        with_adapters(base, [folder])


def test_folders_that_are_no_adapters(base: Checkpoint, saved: Saved, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent", base.folder):
        with pytest.raises(AdapterError, match=re.escape(f"{folder} has no adapter_config.json")):
            with_adapters(base, [folder])
    folder = shutil.copytree(saved(base), tmp_path / "pickled")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match="safe_serialization"):
        with_adapters(base, [folder])


def test_values_that_are_not_finite(base: Checkpoint, saved: Saved, tmp_path: Path) -> None:
    name = f"{QUERY}.weight"
    broken = changed(saved(base), tmp_path, lambda t: t[f"{KEY}.lora_A.weight"].fill_(torch.nan))
    with pytest.raises(TensorError, match="NaN"):
        with_adapters(base, [broken]).read(name)
    large = {
        f"{KEY}.lora_{x}.weight": torch.full(s, 3e38) for x, s in (("A", (4, 64)), ("B", (64, 4)))
    }
    broken = changed(saved(base), tmp_path / "large", lambda t: t.update(large))
    with pytest.raises(TensorError, match="beyond float32"):
        with_adapters(base, [broken]).read(name)


def test_an_adapter_that_changes_meanwhile(base: Checkpoint, saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved(base), tmp_path / "adapter")
    found = with_adapters(base, [folder])
    changed_file = folder / "adapter_model.safetensors"
    changed_file.write_bytes(changed_file.read_bytes() + b" ")
    for read in (found.check_unchanged, lambda: found.read(f"{QUERY}.weight")):
        with pytest.raises(ChangedError):
            read()


def test_a_text_models_prefix_is_taken_off(base: Checkpoint, saved: Saved, tmp_path: Path) -> None:
    folder = saved(base)

    def rename(tensors: dict[str, Tensor]) -> None:
        for key in list(tensors):
            new = key.replace("model.model.", "model.model.language_model.")
            tensors[new] = tensors.pop(key)

    found = with_adapters(base, [changed(folder, tmp_path, rename)])
    assert_same(found, pefts(base, folder))


def test_the_weights_of_another_model_stay(base: Checkpoint) -> None:
    assert with_adapters(base, []) == open_checkpoint(base.folder)
