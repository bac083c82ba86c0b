"""The trained model, opened and quantized once by each recipe."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.quantize.quantizer import QuantizedModel, quantize_model
from tinyaya.quantize.recipe import RECIPES


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return open_checkpoint(Path(__file__).parents[1] / "assets" / "nano")


@pytest.fixture(scope="session")
def quantized(checkpoint: Checkpoint) -> Callable[[str], QuantizedModel[DecoderConfig]]:
    return cache(lambda recipe: quantize_model(checkpoint, RECIPES[recipe]))
