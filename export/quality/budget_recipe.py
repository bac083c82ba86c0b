"""Chooses the recipe that loses least within a size, by the losses of single weights."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

from tinyaya.export.options import CalibrationOptions
from tinyaya.export.quality.loss import Loss, read_losses
from tinyaya.export.quality.sensitivity import PRECISION_OPTIONS, measure_sensitivity, options_for
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.budget import choose
from tinyaya.quantize.errors import BudgetError
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.recipe import Recipe, find_recipe
from tinyaya.quantize.roles import PROJECTIONS, TABLES, Place, place_of
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Progress

_SCALE_BYTES, _FLOAT_BYTES = 2, 4
_JUDGED_TOKENS = 64  # judged of each language
_SIZE_UNITS = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9}


def find_budget_recipe(
    checkpoint: Checkpoint,
    base: str,
    size: str,
    losses: Path | None,
    calibration: CalibrationOptions,
    progress: Progress,
) -> Recipe:
    """The recipe `base` with bits chosen for `size`, by losses from a file or measured now.

    checkpoint: as it is to be exported; losses are measured with all of its vocabulary.
    """
    budget_bytes, recipe = parse_size(size), find_recipe(base)
    _check_possible(checkpoint, recipe, budget_bytes)
    if losses:
        found = read_losses(losses)
    else:
        whole = checkpoint.whole.folder
        found = measure_sensitivity(whole, None, _JUDGED_TOKENS, calibration, progress).losses
    return budget_recipe(checkpoint, recipe, found, budget_bytes)


def budget_recipe(
    checkpoint: Checkpoint, base: Recipe, losses: Sequence[Loss], budget_bytes: int
) -> Recipe:
    """`base` with the projections' precision chosen one by one; tables stay as they are.

    budget_bytes: of all weights. Raises BudgetError with the smallest size possible.
    """
    _check_possible(checkpoint, base, budget_bytes)
    left = budget_bytes - _fixed_bytes(checkpoint, base)
    chosen = choose([row.choice for row in losses], left)
    weights = {name: base.weights[name] for name in base.weights if name in _TABLE_NAMES}
    weights |= {place: PRECISION_OPTIONS[choice.option] for place, choice in chosen.items()}
    return replace(base, name=f"budget-{budget_bytes / 1e6:.4g}MB", weights=weights)


_TABLE_NAMES = {"tables", *map(str, TABLES)}


def _check_possible(checkpoint: Checkpoint, base: Recipe, budget_bytes: int) -> None:
    """Raise BudgetError, before anything is measured, if no choice is small enough."""
    smallest = _fixed_bytes(checkpoint, base) + sum(
        min(_bytes(shape, precision) for precision in options_for(shape[1]).values())
        for shape, place in _shapes(checkpoint)
        if place.role in PROJECTIONS
    )
    if smallest > budget_bytes:
        raise BudgetError(
            f"the budget is {budget_bytes / 1e6:.2f} MB, the weights take at least "
            f"{smallest / 1e6:.2f} MB; raise the budget"
        )


def _fixed_bytes(checkpoint: Checkpoint, base: Recipe) -> int:
    """Bytes of the weights that the budget does not choose for."""
    return sum(
        _bytes(shape, base.precision(place))
        for shape, place in _shapes(checkpoint)
        if place.role not in PROJECTIONS
    )


def _shapes(checkpoint: Checkpoint) -> Iterator[tuple[tuple[int, ...], Place]]:
    for name, shape in checkpoint.shapes.items():
        yield shape, place_of(name, checkpoint.kinds)


def _bytes(shape: tuple[int, ...], precision: Precision | None) -> int:
    """As `stored_bytes` counts them."""
    if precision is None:
        return prod(shape) * _FLOAT_BYTES
    scales = prod(shape) // (precision.group_size or shape[1])
    return prod(shape) * precision.bits // 8 + scales * _SCALE_BYTES


def parse_size(text: str) -> int:
    """Bytes of a size such as 2.0GB or 5.8MB (powers of 1000); raises OptionError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(k|M|G)?(B?)", text.strip())
    if not found:
        raise OptionError(f"{text!r} is no size; expected for example 2.0GB or 5.8MB")
    if not found[2] and not found[3]:
        raise OptionError(f"{text!r} has no unit; expected for example {text}GB or {text}MB")
    return round(float(found[1]) * _SIZE_UNITS[found[2]])
