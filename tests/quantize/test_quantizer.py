"""A model by a recipe: each role at its precision, figures that add up, reproducible bytes."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from export.checkpoint import Checkpoint
from export.decoder.config import DecoderConfig
from quantize.errors import RecipeError
from quantize.groupwise import Precision, QuantizedWeight, dequantize
from quantize.quantizer import QuantizedModel, Weight, quantize_model
from quantize.recipe import RECIPES, Recipe, find_recipe
from quantize.roles import Role, role_of

Quantized = Callable[[str], QuantizedModel[DecoderConfig]]


@dataclass(frozen=True)
class Source:
    """A model of a few tensors."""

    tensors: dict[str, Tensor]
    config: None = None

    @property
    def names(self) -> list[str]:
        return list(self.tensors)

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


def raw_bytes(weight: Weight) -> bytes:
    if isinstance(weight, Tensor):
        return weight.numpy().tobytes()
    return weight.codes_OI.numpy().tobytes() + weight.scales_OG.numpy().tobytes()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_role_has_the_precision_of_the_recipe(quantized: Quantized, recipe: str) -> None:
    model = quantized(recipe)
    for name, weight in model.weights.items():
        precision = model.recipe.precision(role_of(name))
        if precision is None:
            assert isinstance(weight, Tensor)
            continue
        assert isinstance(weight, QuantizedWeight)
        inputs = weight.codes_OI.shape[1]
        assert (weight.bits, weight.group_size) == (precision.bits, precision.group_size or inputs)


def test_int4_keeps_the_table_at_8_bits_and_the_norms_whole(
    quantized: Quantized, checkpoint: Checkpoint
) -> None:
    weights = quantized("int4").weights
    assert weights["model.embed_tokens.weight"].bits == 8
    assert weights["model.layers.7.mlp.down_proj.weight"].bits == 4
    assert torch.equal(weights["model.norm.weight"], checkpoint.read("model.norm.weight"))


def test_fp32_changes_nothing(quantized: Quantized, checkpoint: Checkpoint) -> None:
    model = quantized("fp32")
    for name, weight in model.weights.items():
        assert torch.equal(weight, checkpoint.read(name))
    assert {role.relative_error for role in model.report.values()} == {0.0}


@pytest.mark.parametrize("recipe", RECIPES)
def test_report_adds_up(quantized: Quantized, checkpoint: Checkpoint, recipe: str) -> None:
    model = quantized(recipe)
    parameters, sizes = defaultdict(int), defaultdict(int)
    wrong, total = defaultdict(float), defaultdict(float)
    for name, weight in model.weights.items():
        source, role = checkpoint.read(name).double(), role_of(name)
        parameters[role] += source.numel()
        if isinstance(weight, Tensor):
            sizes[role] += 4 * source.numel()
        else:
            sizes[role] += source.numel() * weight.bits // 8 + 2 * weight.scales_OG.numel()
            wrong[role] += (dequantize(weight) - source).square().sum().item()
        total[role] += source.square().sum().item()
    assert model.report.keys() == parameters.keys()
    for role, figures in model.report.items():
        assert (figures.parameters, figures.stored_bytes) == (parameters[role], sizes[role])
        expected = (wrong[role] / total[role]) ** 0.5
        assert figures.relative_error == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("recipe", "low", "high"), [("int4", 0.03, 0.11), ("int8", 1e-3, 0.012)])
def test_relative_error_of_every_role(
    quantized: Quantized, recipe: str, low: float, high: float
) -> None:
    model = quantized(recipe)
    errors = {role: figures.relative_error for role, figures in model.report.items()}
    assert errors.pop(Role.NORM) == 0
    if recipe == "int4":
        assert 1e-3 < errors.pop(Role.EMBEDDING) < 0.012
    assert len(errors) >= 7
    assert all(low < error < high for error in errors.values()), errors


def test_same_bytes_twice(checkpoint: Checkpoint, quantized: Quantized) -> None:
    again = quantize_model(checkpoint, RECIPES["int4"])
    first = quantized("int4")
    assert list(again.weights) == list(first.weights)
    for name, weight in again.weights.items():
        assert raw_bytes(weight) == raw_bytes(first.weights[name]), name


def test_progress_is_told_once_a_tensor() -> None:
    calls: list[None] = []
    source = Source({"model.norm.weight": torch.ones(8), "lm_head.weight": torch.ones(4, 8)})
    model = quantize_model(source, RECIPES["int8"], lambda: calls.append(None))
    assert len(calls) == 2
    assert model.report.keys() == {Role.NORM, Role.HEAD}


def test_role_of_zeros_has_no_error() -> None:
    model = quantize_model(Source({"lm_head.weight": torch.zeros(4, 8)}), RECIPES["int8"])
    assert model.report[Role.HEAD].relative_error == 0


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.embed_tokens.weight", Role.EMBEDDING),
        ("lm_head.weight", Role.HEAD),
        ("model.layers.31.self_attn.q_proj.weight", Role.QUERY),
        ("model.layers.0.self_attn.k_proj.weight", Role.KEY),
        ("model.layers.0.self_attn.v_proj.weight", Role.VALUE),
        ("model.layers.0.self_attn.o_proj.weight", Role.OUTPUT),
        ("model.layers.0.mlp.gate_proj.weight", Role.GATE),
        ("model.layers.0.mlp.up_proj.weight", Role.UP),
        ("model.layers.0.mlp.down_proj.weight", Role.DOWN),
        ("model.layers.0.input_layernorm.weight", Role.NORM),
        ("model.norm.weight", Role.NORM),
    ],
)
def test_role_of_a_name(name: str, role: Role) -> None:
    assert role_of(name) is role


def test_recipe_gives_each_role_its_precision() -> None:
    four, eight = Precision(bits=4, group_size=32), Precision(bits=8)
    recipe = Recipe(name="mixed", projections=four, tables=eight)
    tables = {Role.EMBEDDING, Role.HEAD}
    assert {role for role in Role if recipe.precision(role) is eight} == tables
    assert {role for role in Role if recipe.precision(role) is None} == {Role.NORM}


def test_recipes_are_found_by_name() -> None:
    assert all(find_recipe(name).name == name for name in RECIPES)


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(RecipeError) as caught:
        find_recipe("int5")
    assert all(word in str(caught.value) for word in ("'int5'", *RECIPES))
