"""The budget's choice is the best there is, and says so when there is none."""

from itertools import product
from random import Random

import pytest

from tinyaya.quantize.budget import Choice, choose
from tinyaya.quantize.errors import BudgetError


def random_choices(seed: int, weights: int = 6) -> list[Choice]:
    random = Random(seed)
    return [
        Choice(
            weight=f"w{index}",
            option=f"o{option}",
            size_bytes=random.randrange(50, 100) * (option + 1),
            loss=random.random() * 10.0 ** -(option + 3),
        )
        for index in range(weights)
        for option in range(3)
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [700, 900, 1300])
def test_no_combination_is_better(seed: int, budget: int) -> None:
    choices = random_choices(seed)
    groups = [[c for c in choices if c.weight == f"w{index}"] for index in range(6)]
    combinations = [
        rows for rows in product(*groups) if sum(row.size_bytes for row in rows) <= budget
    ]
    if not combinations:
        with pytest.raises(BudgetError):
            choose(choices, budget)
        return
    found = choose(choices, budget)
    assert list(found) == [f"w{index}" for index in range(6)]
    assert sum(choice.size_bytes for choice in found.values()) <= budget
    best = min(sum(row.loss for row in rows) for rows in combinations)
    assert sum(choice.loss for choice in found.values()) == pytest.approx(best, rel=1e-5)


def test_too_small_a_budget_names_the_smallest() -> None:
    choices = [
        Choice(weight="a", option="4", size_bytes=2_000_000, loss=1.0),
        Choice(weight="a", option="8", size_bytes=4_000_000, loss=0.0),
    ]
    with pytest.raises(BudgetError, match=r"1\.00 MB, the weights take at least 2\.00 MB"):
        choose(choices, 1_000_000)
    assert choose(choices, 2_000_000)["a"].option == "4"
    assert choose(choices, 9_000_000)["a"].option == "8"
