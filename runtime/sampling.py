"""Logits of one position in, the id of the next token out.

Shape suffixes: V vocabulary, K ids that are left to choose from.
"""

import numpy as np
from numpy.typing import NDArray

from runtime.errors import SamplingError
from runtime.manifest import sampling_problem

Logits = NDArray[np.float32]

_COLUMNS_FOR_EACH = 16


class Sampler:
    """Draws by temperature, then top-k, then top-p; one seed gives one sequence of draws.

    temperature: 0 takes the likeliest id. top_k: keep that many ids; 0 keeps all, which
    then have to be sorted. top_p: keep the fewest ids whose probabilities reach it; 1 keeps all.
    Of equal logits, the lower id comes first.
    Raises SamplingError for values out of range.
    """

    def __init__(
        self, *, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0
    ) -> None:
        problem = sampling_problem(temperature=temperature, top_k=top_k, top_p=top_p)
        if problem is None and seed < 0:
            problem = f"seed is {seed}; expected 0 or more"
        if problem is not None:
            raise SamplingError(problem)
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._random = np.random.Generator(np.random.PCG64(seed))

    def sample(self, logits_V: Logits) -> int:
        """Choose an id below V; never one at -inf. Raises SamplingError where no other is left."""
        best = int(np.argmax(logits_V))
        if not np.isfinite(logits_V[best]):  # argmax finds a NaN, if there is one
            raise SamplingError(
                f"the highest logit is {logits_V[best]}; expected a finite one: "
                "the program is broken, export the bundle again with verification"
            )
        return best if self._temperature == 0 else self._draw(logits_V)

    def _draw(self, logits_V: Logits) -> int:
        ids_K = self._candidates(logits_V)
        logits_K = logits_V[ids_K].astype(np.float64)
        with np.errstate(over="ignore"):  # a tiny temperature: -inf, hence probability 0
            weights_K = np.exp((logits_K - logits_K[0]) / self._temperature)
        sums_K = np.cumsum(weights_K)
        kept = int(np.searchsorted(sums_K, self._top_p * sums_K[-1])) + 1
        point = self._random.random() * sums_K[kept - 1]
        return int(ids_K[np.searchsorted(sums_K, point)])

    def _candidates(self, logits_V: Logits) -> NDArray[np.intp]:
        """Find the `top_k` likeliest ids, likeliest first."""
        count = min(self._top_k or logits_V.shape[0], logits_V.shape[0])
        ids = np.flatnonzero(logits_V >= _bound(logits_V, count))
        return ids[np.argsort(-logits_V[ids], kind="stable")[:count]]


def _bound(logits_V: Logits, count: int) -> np.float32:
    """A value that at least `count` logits reach, and not many more.

    Of C columns, `count` have a maximum that reaches the `count`-th best maximum. Maxima are much
    cheaper than a selection from the whole vocabulary.
    """
    columns = _COLUMNS_FOR_EACH * count
    if columns < logits_V.shape[0]:
        rows = logits_V.shape[0] // columns
        logits_V = logits_V[: rows * columns].reshape(rows, columns).max(0)
    least: np.float32 = np.partition(logits_V, -count)[-count]
    return least
