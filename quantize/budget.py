"""Chooses a precision for each weight, to lose least within a size.

Losses of weights are taken to add up (they are small), so the choice is a multiple-choice knapsack,
which HiGHS solves to the optimum (scipy.optimize.milp).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from tinyaya.quantize.errors import BudgetError


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One precision of one weight: what it takes, and the loss that it alone causes."""

    weight: str
    option: str
    size_bytes: int
    loss: float


def choose(choices: Sequence[Choice], budget_bytes: int) -> Mapping[str, Choice]:
    """The choice for every weight whose losses add up to least within `budget_bytes`.

    Raises BudgetError, which says the smallest size, if even that is larger.
    """
    weights = list(dict.fromkeys(choice.weight for choice in choices))
    smallest = sum(
        min(choice.size_bytes for choice in choices if choice.weight == weight)
        for weight in weights
    )
    if smallest > budget_bytes:
        raise BudgetError(
            f"the budget is {budget_bytes / 1e6:.2f} MB, the weights take at least "
            f"{smallest / 1e6:.2f} MB; raise the budget"
        )
    row = {weight: index for index, weight in enumerate(weights)}
    rows, columns = [row[choice.weight] for choice in choices], range(len(choices))
    one_each = csr_array((np.ones(len(choices)), (rows, list(columns))))
    sizes = np.array([[choice.size_bytes for choice in choices]], float)
    losses = np.array([choice.loss for choice in choices])
    result = milp(
        losses / max(losses.max(), 1e-30),
        integrality=np.ones(len(choices)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(sizes / budget_bytes, -np.inf, 1),
        ],
        options={"mip_rel_gap": 1e-6},
    )
    assert result.x is not None, result.message
    taken = [choice for choice, share in zip(choices, result.x, strict=True) if share > 0.5]
    return {choice.weight: choice for choice in taken}
