"""Some hundred mutations; in the thorough tier 10,000 and more, as of `python -m tests.fuzz`."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fuzz.folders import FolderFuzzer
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


@pytest.mark.parametrize("seeds", [150, pytest.param(3000, marks=pytest.mark.thorough)])
def test_folders_are_exported_or_refused_by_name(tmp_path: Path, seeds: int) -> None:
    """Before their weights are touched."""
    target = FolderFuzzer(tmp_path).target
    outcomes = [target(random.Random(seed)) for seed in range(seeds)]
    assert seeds // 6 < outcomes.count(True) < seeds // 2
