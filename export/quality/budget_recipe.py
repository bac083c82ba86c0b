"""Losses of single weights and a size in; out: the recipe that loses least within that size."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from export.checkpoint import Checkpoint
from export.quality.sensitivity import OPTIONS, Loss
from quantize.budget import choose
from quantize.errors import BudgetError
from quantize.recipe import Recipe
from quantize.roles import TABLES, Role, place_of

_SCALE_BYTES = 2


def budget_recipe(
    checkpoint: Checkpoint, base: Recipe, losses: Sequence[Loss], budget_bytes: int
) -> Recipe:
    """`base` with the projections' precision chosen one by one; tables stay as they are.

    budget_bytes: of all weights. Raises BudgetError with the smallest size possible.
    """
    rest = _rest_bytes(checkpoint, base)
    if rest >= budget_bytes:
        raise BudgetError(
            f"the budget is {budget_bytes / 1e6:.2f} MB, tables and norms alone take "
            f"{rest / 1e6:.2f} MB; raise the budget"
        )
    chosen = choose([row.choice for row in losses], budget_bytes - rest)
    weights = {name: base.weights[name] for name in base.weights if name in _TABLE_NAMES}
    weights |= {place: OPTIONS[choice.option] for place, choice in chosen.items()}
    return replace(base, name=f"budget-{budget_bytes / 1e6:.4g}MB", weights=weights)


_TABLE_NAMES = {"tables", *map(str, TABLES)}


def _rest_bytes(checkpoint: Checkpoint, base: Recipe) -> int:
    """Bytes of the weights that the budget does not choose for."""
    total = 0
    for name, shape in checkpoint.shapes.items():
        place = place_of(name, checkpoint.kinds)
        if place.role in (*TABLES, Role.NORM):
            precision = base.precision(place)
            bits = precision.bits if precision else 32
            scales = shape[0] * _SCALE_BYTES if precision else 0
            total += prod(shape) * bits // 8 + scales
    return total


def rows_of(losses: Sequence[Loss], recipe: Recipe) -> Mapping[tuple[int, str], str]:
    """(layer, role) -> the option that the recipe gives it, for a table of a budget's choice."""
    named = {precision: option for option, precision in OPTIONS.items()}
    return {
        (row.layer, str(row.role)): named[recipe.weights[f"{row.layer}.{row.role}"]]
        for row in losses
    }
