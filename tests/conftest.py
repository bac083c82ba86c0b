"""Bundles and models that several tests share; each is made once a session."""

import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tinyaya.export.options import CalibrationOptions, ExportOptions
from tinyaya.export.pipeline import ExportedBundle, export_bundle
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
def calibration(tmp_path_factory: pytest.TempPathFactory) -> CalibrationOptions:
    """Little text, fitted to once: its folder is for the recipe int4."""
    return CalibrationOptions(tokens=4096, work=tmp_path_factory.mktemp("calibration"))


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, calibration: CalibrationOptions
) -> Mapping[str, list[ExportedBundle]]:
    """Recipe -> both engines' bundles of nano, context 1024, chunk 64, verified."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        recipe: export_bundle(
            NANO,
            folder / recipe,
            ExportOptions(backend="both", recipe=recipe, chunk=64, calibration=calibration),
        )
        for recipe in EXPORTED
    }


@pytest.fixture(scope="session")
def bundles(exported: Mapping[str, list[ExportedBundle]]) -> Mapping[str, Path]:
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
