"""Rounding of activations: planes lie on their own grid, sum to x, and are precise."""

from functools import partial

import pytest
import torch
from torch import Tensor

from tinyaya.export.decoder.activations import Rounding, add_planes, int8_blocks, int8_rows, planes

ROUNDINGS = {"rows": int8_rows, "blocks": partial(int8_blocks, block=32)}
each_rounding = pytest.mark.parametrize("rounding", ROUNDINGS.values(), ids=ROUNDINGS.keys())


def activations(seed: int = 0) -> Tensor:
    """Rows of very different sizes, with outliers, one-sided ones and one of zeros."""
    x_BTI = torch.randn(2, 24, 96, generator=torch.Generator().manual_seed(seed))
    x_BTI *= torch.logspace(-6, 4, 24)[:, None]
    x_BTI[:, :, 5] *= 50
    x_BTI[0, :8] = x_BTI[0, :8].abs()
    x_BTI[0, 8:16] = -x_BTI[0, 8:16].abs()
    x_BTI[1, 0] = 0
    return x_BTI


def relative(change: Tensor, x_BTI: Tensor) -> Tensor:
    return change.norm(dim=-1) / x_BTI.norm(dim=-1).clamp_min(1e-30)


@each_rounding
@pytest.mark.parametrize("seed", range(20))
def test_high_plane_lies_on_its_own_grid(rounding: Rounding, seed: int) -> None:
    high = planes(activations(seed), rounding, 2)[0]
    torch.testing.assert_close(rounding(high), high, rtol=1e-6, atol=0)


@each_rounding
@pytest.mark.parametrize("count", [1, 2, 3])
def test_planes_sum_to_x(rounding: Rounding, count: int) -> None:
    x_BTI = activations()
    parts = planes(x_BTI, rounding, count)
    assert len(parts) == count
    assert relative(torch.stack(parts).sum(0) - x_BTI, x_BTI).max() < 1e-7


@each_rounding
def test_second_plane_makes_the_error_a_hundred_times_smaller(rounding: Rounding) -> None:
    x_BTI = activations()
    one, two = (
        relative(sum(map(rounding, planes(x_BTI, rounding, count))) - x_BTI, x_BTI)
        for count in (1, 2)
    )
    assert one.max() > 1e-3
    assert two.mean() * 100 < one.mean()
    assert two.max() < 1e-4


@each_rounding
def test_zeros_stay_zeros(rounding: Rounding) -> None:
    assert not rounding(torch.zeros(1, 2, 64)).any()


@pytest.mark.parametrize("shift", [-1.5, -0.9, -0.5, -0.1, 0.5])
def test_rows_have_255_equal_steps_over_a_range_that_holds_zero(shift: float) -> None:
    x_I = torch.rand(4096, generator=torch.Generator().manual_seed(0)) + shift
    step = (x_I.max().clamp_min(0) - x_I.min().clamp_max(0)) / 255
    levels = int8_rows(torch.cat((x_I, torch.zeros(1)))[None, None])[0, 0]
    assert levels[-1] == 0
    torch.testing.assert_close(levels.unique().diff().min(), step, rtol=1e-3, atol=0)
    assert (levels[:-1] - x_I).abs().max() <= 1.001 * step
    torch.testing.assert_close(int8_rows(x_I[None, None])[0, 0], levels[:-1])


def test_blocks_do_not_see_each_other() -> None:
    x_BTI = torch.randn(1, 3, 64)
    louder = x_BTI.clone()
    louder[..., 32:] *= 1000
    before, after = int8_blocks(x_BTI, 32), int8_blocks(louder, 32)
    assert torch.equal(before[..., :32], after[..., :32])
    largest = x_BTI[..., :32].abs().amax(-1, keepdim=True)
    assert ((before - x_BTI)[..., :32].abs() <= 0.5001 * largest / 127).all()


def test_add_planes_sums_over_the_batch() -> None:
    y_PTO = torch.randn(3, 5, 7)
    torch.testing.assert_close(add_planes(y_PTO), y_PTO.sum(0, keepdim=True))
    assert torch.equal(add_planes(y_PTO[:1]), y_PTO[:1])
