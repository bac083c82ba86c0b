"""Some hundred mutations; in the thorough tier 10,000, as of `python -m tests.fuzz BUNDLE`."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fuzz.targets import Fuzzer

TARGETS = ("manifest", "bundle", "files", "session", "chat request", "text request")
SEEDS, MANY_SEEDS = 60, -(-10_000 // len(TARGETS))


@pytest.fixture(scope="module")
def fuzzer(bundles: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    return Fuzzer(bundles["onnx"], tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("seeds", [SEEDS, pytest.param(MANY_SEEDS, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", TARGETS)
def test_only_named_errors(fuzzer: Fuzzer, name: str, seeds: int) -> None:
    targets = fuzzer.targets()
    assert set(targets) == set(TARGETS)
    outcomes = [targets[name](random.Random(seed)) for seed in range(seeds)]
    assert outcomes.count(False) > seeds // 3  # mutations that change nothing prove nothing
