"""What guesses cost at most and win, by a clock that goes as steps cost; nothing is measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle, repeat
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyaya.runtime import Session, lookup
from tinyaya.runtime.lookup import START_TOKENS, Lookup

MOST = 8
# Steps of 1, 2, 3, 5 and 9 tokens at full size, ms, in steps of one token.
FULL_SIZE = np.interp(range(1, MOST + 2), [1, 2, 3, 5, 9], [420, 516, 719, 952, 1180]) / 420
LINEAR = np.arange(1.0, MOST + 2)  # nothing is to be gained
CLEAR, IN_DOUBT = np.array([9, 0], np.float32), np.array([9, 9], np.float32)
GUESS, OTHER = 1, 2


@dataclass
class Steps:
    """A session whose steps of n tokens move the clock by costs[n - 1]."""

    costs: Sequence[float]
    ids: tuple[int, ...] = ()
    doubts: Iterator[bool] = field(default_factory=lambda: repeat(False))
    noise: Callable[[], float] = lambda: 1.0
    position: int = 0
    clock: float = 0.0
    guesses = MOST + 1
    room = 1 << 20

    def step(self, token: int) -> np.ndarray:
        return self.step_rows([token])[0]

    def step_rows(self, ids: Sequence[int]) -> list[np.ndarray]:
        self.position += len(ids)
        self.clock += self.costs[len(ids) - 1] * self.noise()
        return [IN_DOUBT if next(self.doubts) else CLEAR for _ in ids]

    def rewind(self, position: int) -> None:
        self.position = position

    def can_take_back(self, count: int) -> bool:
        return True


class AlwaysGuess:
    """Places in a text that repeats itself everywhere, by the looks of it."""

    def add(self, token: int) -> None:
        pass

    def guess(self, most: int) -> list[int]:
        return [GUESS] * most


def rates(steps: Steps, accepted: Iterator[bool], tokens: int) -> Iterator[float]:
    """The rate after each token, to that of single steps, where guesses come true as told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "perf_counter", lambda: steps.clock)
        looks = Lookup(cast(Session, steps), MOST)
        looks._places = cast(lookup._Places, AlwaysGuess())
        for count in range(1, tokens + 1):
            looks.step(GUESS if looks._guessed and next(accepted) else OTHER)
            yield count * steps.costs[0] / steps.clock
        looks.finish()
    assert steps.position == tokens


RUNS = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 40)), min_size=1, max_size=8)
EXTRA = st.lists(st.floats(0, 1), min_size=MOST, max_size=MOST)


@settings(max_examples=300, deadline=None)
@given(RUNS, RUNS, EXTRA)
def test_no_text_is_slower_than_95_hundredths(
    truths: list[tuple[int, int]], doubts: list[tuple[int, int]], extra: list[float]
) -> None:
    """Any steps that take no longer than so many single ones, and any luck with guesses."""
    costs = [1.0, *(1 + np.cumsum(extra))]
    steps = Steps(costs, doubts=_runs([(few, many) for many, few in doubts]))
    assert min(list(rates(steps, _runs(truths), 700))[START_TOKENS - 1 :]) >= 0.95


@pytest.mark.parametrize("costs", [FULL_SIZE, LINEAR], ids=["full size", "linear"])
@pytest.mark.parametrize("wrong_after", [0, 1, 2, 5, 30])
def test_neither_with_noise(costs: np.ndarray, wrong_after: int) -> None:
    """Steps of one kind vary by a quarter; those of one token are measured, too."""
    chance = np.random.default_rng(wrong_after)
    noise = lambda: float(chance.uniform(0.75, 1.25))  # noqa: E731
    accepted = cycle([*repeat(True, wrong_after), False])
    found = list(rates(Steps(costs, noise=noise), accepted, 900))
    assert min(found[300:]) >= 0.95  # before, single steps alone vary so much


def test_guesses_are_tried_where_all_come_true() -> None:
    *_, rate = rates(Steps(FULL_SIZE), repeat(True), 200)
    assert rate > 2.5


def test_a_copy_after_long_new_text_is_noticed() -> None:
    steps = Steps(FULL_SIZE)
    found = list(rates(steps, chain(repeat(False, 9), repeat(True)), 900))
    assert found[-1] > 1.3 > 1 > found[100]


@pytest.mark.parametrize("task", ["edit", "translate and quote", "summarise"])
def test_copies_go_at_least_at_1_3_times_the_rate(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, answer = _tasks()[task]
    steps = Steps(FULL_SIZE, ids=tuple(prompt))
    monkeypatch.setattr(lookup, "perf_counter", lambda: steps.clock)
    looks = Lookup(cast(Session, steps), MOST)
    for token in answer:
        looks.step(token)
    assert len(answer) / steps.clock >= 1.3


def _tasks() -> dict[str, tuple[list[int], list[int]]]:
    """Prompt and answer, of ids that do not repeat by chance."""
    chance, fresh = np.random.default_rng(0), iter(range(1000, 1 << 20))
    prompt = [next(fresh) for _ in range(300)]
    quotes = [(start, start + 14) for start in range(20, 260, 30)]
    phrases = [(start, start + length) for start in range(10, 290, 20) for length in (6, 9)]
    return {
        "edit": (prompt, [t if chance.random() > 0.05 else next(fresh) for t in prompt[20:200]]),
        "translate and quote": (prompt, _quoting(prompt, quotes, fresh, 6)),
        "summarise": (prompt, _quoting(prompt, phrases, fresh, 3)),
    }


def _quoting(
    prompt: list[int], quotes: list[tuple[int, int]], fresh: Iterator[int], new: int
) -> list[int]:
    """So many new ids before each stretch of the prompt."""
    return [t for a, b in quotes for t in (*(next(fresh) for _ in range(new)), *prompt[a:b])]


def _runs(lengths: list[tuple[int, int]]) -> Iterator[bool]:
    """True so often, then false so often, again and again; never stuck on empty runs."""
    parts = [told for many, few in lengths for told in [True] * many + [False] * few]
    return cycle(parts or [False])
