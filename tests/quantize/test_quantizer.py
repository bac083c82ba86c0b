"""A model by a recipe: each role at its precision, figures that add up, reproducible bytes."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.groupwise import QuantizedWeight, dequantize
from tinyaya.quantize.quantizer import QuantizedModel, Weight, quantize_model
from tinyaya.quantize.recipe import RECIPES
from tinyaya.quantize.roles import Role, place_of

Quantized = Callable[[str], QuantizedModel[DecoderConfig]]


@dataclass(frozen=True)
class Source:
    """A model of a few tensors."""

    tensors: dict[str, Tensor]
    config: None = None
    kinds: tuple[()] = ()

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
        precision = model.recipe.precision(place_of(name, model.config.kinds))
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
        source, role = checkpoint.read(name).double(), place_of(name, checkpoint.kinds).role
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
