"""The peer's frontier: through its files, straight in log KL between them."""

import pytest

from tinyaya.benchmarks.frontier import frontier_kl
from tinyaya.export.quality.page import Point

POINTS = [
    Point(name=name, weights_bytes=size, mean_kl=kl, ours=False)
    for name, size, kl in (("b", 200, 0.01), ("a", 100, 0.1), ("c", 400, 0.0001))
]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (100, 0.1),
        (200, 0.01),
        (400, 0.0001),
        (150, 0.1**1.5),
        (300, 0.001),
        (50, 0.1**0.5),
        (500, 1e-5),
    ],
)
def test_log_kl_is_straight_over_bytes(size: int, expected: float) -> None:
    assert frontier_kl(POINTS, size) == pytest.approx(expected)


def test_one_file_is_no_frontier() -> None:
    with pytest.raises(ValueError, match="two files"):
        frontier_kl(POINTS[:1], 100)
