"""Bundles and models that several tests share."""

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests import store
from tests.random_checkpoint import CONFIG, random_checkpoint
from tinyaya.export.backends import BACKENDS
from tinyaya.export.options import CalibrationOptions
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.runtime.native.build import TARGETS, build_folder

ASSETS = Path(__file__).parent / "assets"
NANO, UDHR = ASSETS / "nano", ASSETS / "udhr"
NATIVE_BUILD = Path(__file__).parents[1] / "build" / "native"
EXPORTED = ("fp32", "int8", "int4")


@pytest.fixture(scope="session")
def nano() -> Checkpoint:
    """The small trained model: 8 layers, window 128, 67 languages."""
    return open_checkpoint(NANO)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Random weights, 4 layers, window 8, 60 table rows without a token."""
    return random_checkpoint(tmp_path_factory.mktemp("tiny"), CONFIG)


@pytest.fixture(scope="session")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """As `tiny`, of a window layer and a global one: a .pte of it takes half the time."""
    layers = {"num_hidden_layers": 2, "sliding_window_pattern": 2}
    return random_checkpoint(tmp_path_factory.mktemp("shallow"), CONFIG | layers)


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """As `tiny`, of one global layer, where only the head matters."""
    layers = {"num_hidden_layers": 1, "sliding_window_pattern": 1}
    return random_checkpoint(tmp_path_factory.mktemp("lone"), CONFIG | layers)


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test finds or leaves anything in the cache of who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def bundles_stay() -> Iterator[None]:
    """Tests share bundles: one that changes a file must do so in a copy."""
    yield
    store.check_taken()


@pytest.fixture(scope="session")
def calibration() -> CalibrationOptions:
    """What the recipe int4 was fitted to; its folder holds the finished work."""
    (folder,) = store.take("int4")
    return replace(store.NAMED["int4"].calibration, work=folder / store.CALIBRATION)


@dataclass(frozen=True)
class StoredBundle:
    """What an export left; tests that change a file do so in a copy."""

    backend: str
    path: Path


class Exported(Mapping[str, list[StoredBundle]]):
    """Recipe -> both engines' bundles of nano; taken from the store when they are asked for."""

    def __getitem__(self, recipe: str) -> list[StoredBundle]:
        (folder,) = store.take(recipe)
        return [StoredBundle(backend, folder / backend) for backend in BACKENDS]

    def __iter__(self) -> Iterator[str]:
        return iter(EXPORTED)

    def __len__(self) -> int:
        return len(EXPORTED)


@pytest.fixture(scope="session")
def exported() -> Exported:
    """Recipe -> both engines' bundles of nano, context 1024, chunk 64, verified."""
    return Exported()


@pytest.fixture(scope="session")
def bundles(exported: Exported) -> Mapping[str, Path]:
    """Engine -> the int4 bundle."""
    return {bundle.backend: bundle.path for bundle in exported["int4"]}


@pytest.fixture(scope="session")
def native() -> Path:
    """The folder of the package tinyaya_native, which can be imported then; kept between runs."""
    target = TARGETS[platform.machine()]
    if shutil.which(target.compiler) is None:
        pytest.skip(f"{target.compiler} is not installed: tinyaya_native cannot be built")
    folder = build_folder(NATIVE_BUILD / target.machine, target)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder
