"""Calibrated codes: never worse for their inputs than rounding, near the best there is."""

from itertools import product

import pytest
import torch
from torch import Tensor

from tinyaya.quantize.errors import GroupSizeError, SingularGramError
from tinyaya.quantize.gptq import DAMPING_SHARES, quantize_calibrated
from tinyaya.quantize.groupwise import QuantizedWeight, dequantize, quantize
from tinyaya.quantize.precision import Precision

FOUR = Precision(bits=4, group_size=32)


def correlated(tokens: int, inputs: int, seed: int = 0) -> Tensor:
    """x_TI whose inputs move together, as those of a model do."""
    generator = torch.Generator().manual_seed(seed)
    mixing = (
        torch.randn(inputs, inputs, generator=generator) * torch.logspace(0, -2, inputs)[:, None]
    )
    return torch.randn(tokens, inputs, generator=generator) @ mixing


def error(weight_OI: Tensor, quantized: QuantizedWeight, x_TI: Tensor) -> float:
    return ((weight_OI - dequantize(quantized)) @ x_TI.T).square().sum().item()


@pytest.mark.parametrize("precision", [FOUR, Precision(bits=4, group_size=64), Precision(bits=8)])
def test_products_err_far_less_than_rounded_ones(precision: Precision) -> None:
    weight_OI = torch.randn(48, 128, generator=torch.Generator().manual_seed(1))
    x_TI = correlated(512, 128)
    fitted = quantize_calibrated(weight_OI, x_TI.T @ x_TI, precision)
    assert error(weight_OI, fitted, x_TI) < 0.4 * error(
        weight_OI, quantize(weight_OI, precision), x_TI
    )
    assert error(weight_OI, fitted, correlated(512, 128)) > 0


def test_formats_are_those_of_rounding() -> None:
    weight_OI, x_TI = torch.randn(16, 64), correlated(128, 64)
    fitted, rounded = quantize_calibrated(weight_OI, x_TI.T @ x_TI, FOUR), quantize(weight_OI, FOUR)
    assert fitted.codes_OI.dtype == rounded.codes_OI.dtype == torch.int8
    assert (fitted.codes_OI.shape, fitted.scales_OG.shape) == (
        rounded.codes_OI.shape,
        rounded.scales_OG.shape,
    )
    assert fitted.codes_OI.min() >= -8 and fitted.codes_OI.max() <= 7
    assert torch.equal(fitted.scales_OG, fitted.scales_OG.bfloat16().float())
    assert (fitted.scales_OG > 0).all()


def test_near_the_best_of_all_codes() -> None:
    """Six inputs, scales as found: every combination of codes near the weights is tried.

    Damping is as if more tokens came, of each input alone.
    """
    generator = torch.Generator().manual_seed(3)
    weight_OI, x_TI = torch.randn(1, 6, generator=generator), correlated(64, 6)
    fitted = quantize_calibrated(weight_OI, x_TI.T @ x_TI, Precision(bits=4, group_size=6))
    alone = (DAMPING_SHARES[0] * (x_TI.T @ x_TI).diagonal().mean()).sqrt()
    x_TI = torch.cat([x_TI, alone * torch.eye(6)])
    scale = fitted.scales_OG.item()
    near = (weight_OI[0] / scale).floor()
    choices = [[near[i] + step for step in (-2, -1, 0, 1, 2, 3)] for i in range(6)]
    best = min(
        ((weight_OI - torch.tensor([codes]) * scale) @ x_TI.T).square().sum().item()
        for codes in product(*choices)
        if all(-8 <= code <= 7 for code in codes)
    )
    assert error(weight_OI, fitted, x_TI) <= 1.5 * best


def test_pull_moves_rows_to_what_they_should_give() -> None:
    """Rows are to give other outputs than their weights do; the pull says which."""
    weight_OI, x_TI = torch.randn(16, 64), correlated(512, 64)
    wanted_OI = weight_OI + 0.3 * torch.randn(16, 64)
    gram_II = x_TI.T @ x_TI
    fitted = quantize_calibrated(weight_OI, gram_II, FOUR, (wanted_OI - weight_OI) @ gram_II)
    assert error(wanted_OI, fitted, x_TI) < 0.1 * error(weight_OI, fitted, x_TI)


def test_inputs_that_never_come_are_rounded_as_they_are() -> None:
    weight_OI, x_TI = torch.randn(8, 64), correlated(256, 64)
    x_TI[:, 10] = 0
    fitted = quantize_calibrated(weight_OI, x_TI.T @ x_TI, FOUR)
    scale_O = fitted.scales_OG[:, 0]
    missed_O = (dequantize(fitted)[:, 10] - weight_OI[:, 10]).abs()
    inside = weight_OI[:, 10].abs() < 6 * scale_O
    assert (missed_O <= 0.51 * scale_O)[inside].all()


def test_few_tokens_are_damped_and_nonsense_is_refused() -> None:
    weight_OI, x_TI = torch.randn(8, 64), correlated(3, 64)
    fitted = quantize_calibrated(weight_OI, x_TI.T @ x_TI, FOUR)
    assert dequantize(fitted).isfinite().all()
    with pytest.raises(SingularGramError, match="more text"):
        quantize_calibrated(weight_OI, torch.full((64, 64), torch.nan), FOUR)
    with pytest.raises(GroupSizeError):
        quantize_calibrated(weight_OI, x_TI.T @ x_TI, Precision(bits=4, group_size=48))


def test_same_bytes_twice() -> None:
    weight_OI, x_TI = torch.randn(16, 64), correlated(128, 64)
    first, second = (quantize_calibrated(weight_OI, x_TI.T @ x_TI, FOUR) for _ in range(2))
    assert torch.equal(first.codes_OI, second.codes_OI)
    assert torch.equal(first.scales_OG, second.scales_OG)
