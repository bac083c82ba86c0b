"""Interpolates the KL that a peer's files would have at other sizes."""

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log

from tinyaya.export.quality.page import Point


def frontier_kl(points: Sequence[Point], weights_bytes: int) -> float:
    """KL at `weights_bytes`: log KL interpolated over bytes between neighbouring files.

    Beyond the first and the last file, the line of the nearest two goes on. Raises ValueError for
    fewer than two files.
    """
    known = sorted(points, key=lambda point: point.weights_bytes)
    if len(known) < 2:
        raise ValueError("a frontier needs at least two files")
    pairs = list(pairwise(known))
    low, high = next((p for p in pairs if weights_bytes <= p[1].weights_bytes), pairs[-1])
    share = (weights_bytes - low.weights_bytes) / (high.weights_bytes - low.weights_bytes)
    return exp(log(low.mean_kl) + share * (log(high.mean_kl) - log(low.mean_kl)))
