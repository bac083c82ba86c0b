"""Measures how far rows of logits are from others: KL divergence in nats."""

import numpy as np
from numpy.typing import NDArray

from tinyaya.runtime import Logits


def log_softmax(logits_NV: Logits) -> NDArray[np.float64]:
    """Log-probabilities_NV, or _V of one position, in double precision."""
    shifted = logits_NV.astype(np.float64) - logits_NV.max(-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def kl(reference_NV: Logits, other_NV: Logits) -> NDArray[np.float64]:
    """KL_N; ids that are -inf in the reference do not count."""
    rows = zip(reference_NV, other_NV, strict=True)  # double precision one position at a time
    return np.array([_kl_of_position(*map(log_softmax, row)) for row in rows])


def _kl_of_position(p_V: NDArray[np.float64], q_V: NDArray[np.float64]) -> float:
    seen = np.isfinite(p_V)
    p, q = p_V[seen], q_V[seen]
    return max(float((np.exp(p) * (p - q)).sum()), 0.0)
