"""The reference in blocks of rows, of the last positions, or with a table left on disk."""

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import NANO
from tinyaya.export.decoder import reference
from tinyaya.export.decoder.activations import int8_rows
from tinyaya.export.proof.parity import float_model, tail_logits
from tinyaya.export.proof.probe import SINGLE_STEPS
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.quantize.groupwise import dequantize, quantize
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.quantizer import quantize_model
from tinyaya.quantize.recipe import RECIPES

IDS = list(range(20, 120))
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return open_checkpoint(NANO)


@pytest.mark.parametrize("block_values", [1, 7 * 64, 1 << 23])
@pytest.mark.parametrize("bits", [4, 8])
def test_product_in_blocks(monkeypatch: pytest.MonkeyPatch, block_values: int, bits: int) -> None:
    torch.manual_seed(0)
    weight = quantize(torch.randn(50, 64), Precision(bits=bits, group_size=32))
    x_BTI = torch.randn(1, 3, 64)
    monkeypatch.setattr(reference, "BLOCK_VALUES", block_values)
    y_BTO = reference._Linear(weight, None, 1)(x_BTI)
    torch.testing.assert_close(y_BTO, F.linear(x_BTI, dequantize(weight)))


@pytest.mark.parametrize("recipe", ["int4", "int8"])
def test_last_positions_are_those_of_all(
    checkpoint: Checkpoint, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids_BT = quantize_model(checkpoint, RECIPES[recipe]), torch.tensor([IDS])
    whole_NV = reference.reference_logits(model, ids_BT, lambda weight: int8_rows)[
        0, -SINGLE_STEPS - 1 :
    ]
    monkeypatch.setattr(reference, "BLOCK_VALUES", 100_000)
    tail_NV = tail_logits(model, IDS, lambda weight: int8_rows)
    assert tail_NV.shape == whole_NV.shape
    assert (torch.from_numpy(tail_NV) - whole_NV).abs().max() < TOLERANCE


def test_table_on_disk_is_the_table_in_memory(checkpoint: Checkpoint) -> None:
    """And is never read whole."""
    lazy = float_model(checkpoint)
    tail_NV = tail_logits(lazy, IDS)
    held = quantize_model(checkpoint, RECIPES["fp32"])
    assert abs(tail_NV - tail_logits(held, IDS)).max() < TOLERANCE
    assert isinstance(lazy.weights, reference.LazyWeights)
    asked: list[str] = []
    read = type(lazy.weights).__getitem__

    def spy(self: object, name: str) -> torch.Tensor:
        asked.append(name)
        return read(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(lazy.weights), "__getitem__", spy)
        tail_logits(lazy, IDS)
    assert len(asked) == len(checkpoint.names) - 1
    assert "model.embed_tokens.weight" not in asked
