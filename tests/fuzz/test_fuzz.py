"""Some hundred mutations; `python -m tests.fuzz BUNDLE 10000` does thousands."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fuzz.targets import Fuzzer

TARGETS = ("manifest", "bundle", "files", "session", "chat request", "text request")
SEEDS = 60


@pytest.fixture(scope="module")
def fuzzer(bundles: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    return Fuzzer(bundles["onnx"], tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", TARGETS)
def test_only_named_errors(fuzzer: Fuzzer, name: str) -> None:
    targets = fuzzer.targets()
    assert set(targets) == set(TARGETS)
    outcomes = [targets[name](random.Random(seed)) for seed in range(SEEDS)]
    assert outcomes.count(False) > SEEDS // 3  # mutations that change nothing prove nothing
