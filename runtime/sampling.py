"""Draws the next token from the logits of one position.

Shape suffixes: V vocabulary, K ids that are left to choose from.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, log

import numpy as np
from numpy.typing import NDArray

from tinyaya.runtime.errors import SamplingError
from tinyaya.runtime.manifest import sampling_problem

Logits = NDArray[np.float32]

_COLUMNS_PER_ID = 16
_FIRST_SORTED_IDS = 1024


@dataclass(frozen=True, kw_only=True)
class Penalties:
    """What changes logits before anything is drawn.

    repetition: logits of ids in prompt and answer are divided by it where positive, multiplied
    where negative; 1 is off. frequency and presence: subtracted from ids of the answer, for each
    time and once; 0 is off. bias: id -> what is added to its logit; -inf forbids the id.
    Raises SamplingError for values that mean nothing.
    """

    repetition: float = 1.0
    frequency: float = 0.0
    presence: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise SamplingError(problem)

    def _problems(self) -> Iterator[str]:
        if not 0 < self.repetition < float("inf"):
            yield f"repetition penalty is {self.repetition}; expected more than 0 (1 is off)"
        for name in ("frequency", "presence"):
            if not abs(value := getattr(self, name)) < float("inf"):
                yield f"{name} penalty is {value}; expected a number (0 is off)"
        for token, bias in self.bias.items():
            if isnan(bias) or bias == float("inf") or token < 0:
                yield f"bias of id {token} is {bias}; expected a number or -inf, and ids from 0 on"

    @property
    def active(self) -> bool:
        """Whether logits change at all."""
        return bool(self.bias) or (self.repetition, self.frequency, self.presence) != (1, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """An id that could have come, and the natural logarithm of its probability."""

    id: int
    log_probability: float


class Sampler:
    """Draws by penalties, temperature, top-k, top-p, then min-p; one seed, one sequence of draws.

    temperature: 0 takes the likeliest id. top_k: keep that many ids; 0 keeps all, which
    then have to be sorted. top_p: keep the fewest ids whose probabilities reach it; 1 keeps all.
    min_p: keep ids at least that share as probable as the likeliest; 0 keeps all.
    Of equal logits, the lower id comes first.
    Raises SamplingError for values out of range.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        penalties: Penalties | None = None,
        seed: int = 0,
    ) -> None:
        problem = sampling_problem(temperature=temperature, top_k=top_k, top_p=top_p)
        if problem is None and not 0 <= min_p <= 1:
            problem = f"min_p is {min_p}; expected 0 (off) to 1"
        if problem is None and seed < 0:
            problem = f"seed is {seed}; expected 0 or more"
        if problem is not None:
            raise SamplingError(problem)
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._min_p, self._penalties = min_p, penalties or Penalties()
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._prompt: frozenset[int] = frozenset()
        self._answer: Counter[int] = Counter()

    @property
    def greedy(self) -> bool:
        """Whether it takes the likeliest id, so that no two draws differ."""
        return self._temperature == 0

    def begin(self, prompt_ids: Sequence[int]) -> None:
        """Begin an answer to `prompt_ids`, from which penalties count; draws go on."""
        self._prompt, self._answer = frozenset(map(int, prompt_ids)), Counter()

    def accept(self, token: int) -> None:
        """Count `token` as part of the answer."""
        self._answer[token] += 1

    def sample(self, logits_V: Logits) -> int:
        """Choose an id below V; never one at -inf. Raises SamplingError where no other is left."""
        if self._penalties.active:
            logits_V = self._penalized(logits_V)
        best = int(np.argmax(logits_V))
        if not np.isfinite(logits_V[best]):  # argmax finds a NaN, if there is one
            raise SamplingError(
                f"the highest logit is {logits_V[best]}; expected a finite one: "
                "either a bias forbids every id, or the program is broken: verify the bundle"
            )
        return best if self._temperature == 0 else self._draw(logits_V)

    def _penalized(self, logits_V: Logits) -> Logits:
        """Own copy of the logits after all penalties."""
        penalties, logits_V = self._penalties, logits_V.copy()
        if penalties.repetition != 1:
            seen_K = np.array(sorted(self._prompt | self._answer.keys()), np.intp)
            logits_K = logits_V[seen_K]
            logits_V[seen_K] = np.where(
                logits_K > 0, logits_K / penalties.repetition, logits_K * penalties.repetition
            )
        for token, count in self._answer.items():
            logits_V[token] -= count * penalties.frequency + penalties.presence
        for token, bias in penalties.bias.items():
            if token >= logits_V.shape[0]:
                raise SamplingError(
                    f"a bias names id {token}; expected 0 to {logits_V.shape[0] - 1}"
                )
            logits_V[token] += bias
        return logits_V

    def _draw(self, logits_V: Logits) -> int:
        ids_K, share = self._candidates(logits_V)
        weights_K = self._weights(logits_V[ids_K])
        sums_K = np.cumsum(weights_K)
        kept = int(np.searchsorted(sums_K, self._top_p * share * sums_K[-1])) + 1
        kept = min(kept, int(np.searchsorted(-weights_K, -self._min_p, side="right")))
        point = self._random.random() * sums_K[kept - 1]
        return int(ids_K[np.searchsorted(sums_K, point)])

    def _weights(self, logits_K: Logits) -> NDArray[np.float64]:
        """Probabilities at the temperature, to that of the first."""
        with np.errstate(over="ignore"):  # a tiny temperature: -inf, hence probability 0
            found: NDArray[np.float64] = np.exp(
                (logits_K.astype(np.float64) - float(logits_K.max())) / self._temperature
            )
        return found

    def _candidates(self, logits_V: Logits) -> tuple[NDArray[np.intp], float]:
        """Ids that may be drawn, likeliest first, and by how much all weigh more than these.

        With top_k those are so many. Without, more and more are sorted, until top_p or min_p is
        sure to leave out the rest: to sort a whole vocabulary takes longer than a step.
        """
        if self._top_k:
            return _likeliest(logits_V, self._top_k), 1.0
        total = float(self._weights(logits_V).sum())
        count, size = _FIRST_SORTED_IDS, logits_V.shape[0]
        while True:
            ids_K = _likeliest(logits_V, count)
            weights_K = self._weights(logits_V[ids_K])
            mass = float(weights_K.sum())
            if count >= size or weights_K[-1] < self._min_p or mass >= self._top_p * total:
                return ids_K, total / mass
            count *= 8


def _likeliest(logits_V: Logits, count: int) -> NDArray[np.intp]:
    """Find the `count` likeliest ids, or all that are possible, likeliest first."""
    if count >= logits_V.shape[0]:
        ids = np.flatnonzero(np.isfinite(logits_V))
    else:
        ids = np.flatnonzero(logits_V >= _bound(logits_V, count))
        ids = ids[np.isfinite(logits_V[ids])]
    found: NDArray[np.intp] = ids[np.argsort(-logits_V[ids], kind="stable")[:count]]
    return found


def alternatives(logits_V: Logits, count: int) -> tuple[Alternative, ...]:
    """Find the `count` likeliest ids, likeliest first, as the model has them: before penalties."""
    ids = _likeliest(logits_V, count)
    scale = log_scale(logits_V)
    found = ((int(token), float(logits_V[token]) - scale) for token in ids)
    return tuple(Alternative(id=token, log_probability=value) for token, value in found)


def log_scale(logits_V: Logits) -> float:
    """What to subtract from a logit for its log probability."""
    highest = float(logits_V.max())
    return highest + log(float(np.exp(logits_V - np.float32(highest)).sum(dtype=np.float64)))


def _bound(logits_V: Logits, count: int) -> np.float32:
    """A value that at least `count` logits reach, and not many more.

    Of C columns, `count` have a maximum that reaches the `count`-th best maximum. Maxima are much
    cheaper than a selection from the whole vocabulary.
    """
    columns = _COLUMNS_PER_ID * count
    if columns < logits_V.shape[0]:
        rows = logits_V.shape[0] // columns
        logits_V = logits_V[: rows * columns].reshape(rows, columns).max(0)
    least: np.float32 = np.partition(logits_V, -count)[-count]
    return least
