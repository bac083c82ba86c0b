"""Calibration of the trained model: better than rounding, exact where it must be, resumable."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import NANO
from tinyaya.export.calibration import fit as calibrate
from tinyaya.export.calibration.fit import first_streams, fit_layer, fit_layers
from tinyaya.export.calibration.quantized_model import calibration_sequences
from tinyaya.export.calibration.store import FittedStore, store_key
from tinyaya.export.decoder.reference import reference_hidden, reference_logits
from tinyaya.export.errors import CalibrationError
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.export.options import CalibrationOptions
from tinyaya.export.proof.kl import kl
from tinyaya.export.proof.parity import float_model
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.errors import SingularGramError
from tinyaya.quantize.gptq import quantize_calibrated
from tinyaya.quantize.groupwise import QuantizedWeight, quantize
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.quantizer import Weight, quantize_model
from tinyaya.quantize.recipe import Recipe
from tinyaya.quantize.roles import Role
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.tokenizer import Tokenizer

COARSE = Recipe(
    name="coarse",
    weights={"projections": Precision(bits=4, group_size=128), "tables": Precision(bits=8)},
    calibrated=True,
)
FOUR = COARSE.weights["projections"]
LAYERS = 8


@pytest.fixture(scope="module")
def sequences(nano: Checkpoint) -> list[list[int]]:
    return calibration_sequences(nano, CalibrationOptions(tokens=4000))


@pytest.fixture(scope="module")
def fitted(nano: Checkpoint, sequences: list[list[int]]) -> dict[str, QuantizedWeight]:
    return fit_layers(nano, COARSE, sequences)


def same(one: Mapping[str, Weight], other: Mapping[str, Weight]) -> bool:
    assert one.keys() == other.keys()
    for name, weight in one.items():
        twin = other[name]
        assert isinstance(weight, QuantizedWeight) and isinstance(twin, QuantizedWeight)
        if not torch.equal(weight.codes_OI, twin.codes_OI):
            return False
        if not torch.equal(weight.scales_OG, twin.scales_OG) or weight.bits != twin.bits:
            return False
    return True


def test_sequences_cross_the_window_several_times(
    nano: Checkpoint, sequences: list[list[int]]
) -> None:
    assert nano.config.window == 128
    assert {len(row) for row in sequences} == {768}
    assert 4 <= len(sequences) <= 6


def test_kl_on_other_texts_is_far_below_that_of_rounding(
    nano: Checkpoint, fitted: dict[str, QuantizedWeight]
) -> None:
    tokenizer = Tokenizer(NANO / "tokenizer.json", nano.tokenizer.bos)
    texts = evaluation_texts(None)
    ids = torch.tensor([tokenizer.encode(texts[code])[:200] for code in ("sw", "hi", "en", "th")])
    whole = reference_logits(float_model(nano), ids).flatten(0, 1).numpy()
    kls = []
    for weights in (fitted, {}):
        model = quantize_model(nano, COARSE, fitted=weights)
        found = reference_logits(model, ids).flatten(0, 1).numpy()
        kls.append(float(np.mean(kl(whole, found))))
    assert kls[0] < 0.6 * kls[1]


def test_exact_stream_is_the_models_own(nano: Checkpoint, sequences: list[list[int]]) -> None:
    some = sequences[:2]
    streams = first_streams(nano, COARSE, some)
    for index in range(LAYERS):
        _, streams = fit_layer(nano, COARSE, index, streams)
    expected = reference_hidden(float_model(nano), torch.tensor(some))
    torch.testing.assert_close(torch.stack(list(streams.exact)), expected, atol=2e-3, rtol=1e-3)


def test_fitted_stream_is_the_fitted_models_own(
    nano: Checkpoint, sequences: list[list[int]]
) -> None:
    some = sequences[:2]
    streams, weights = first_streams(nano, COARSE, some), {}
    for index in range(LAYERS):
        layer, streams = fit_layer(nano, COARSE, index, streams)
        weights |= layer
    model = quantize_model(nano, COARSE, fitted=weights)
    expected = reference_hidden(model, torch.tensor(some))
    torch.testing.assert_close(torch.stack(list(streams.fitted)), expected, atol=2e-3, rtol=1e-3)


def test_every_projection_is_fitted_the_rest_is_left(
    fitted: dict[str, QuantizedWeight],
) -> None:
    assert len(fitted) == 7 * LAYERS
    assert {weight.bits for weight in fitted.values()} == {4}


def test_what_was_killed_goes_on_to_the_same_bytes(
    nano: Checkpoint,
    sequences: list[list[int]],
    fitted: dict[str, QuantizedWeight],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, calls = store_key(nano, COARSE, sequences), []

    def dies_at_the_fifth(*arguments: object) -> object:
        calls.append(arguments[2])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return fit_layer(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(calibrate, "fit_layer", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        fit_layers(nano, COARSE, sequences, FittedStore(tmp_path, key))
    found = fit_layers(nano, COARSE, sequences, FittedStore(tmp_path, key))
    assert calls == [0, 1, 2, 3, 4, 4, 5, 6, 7]
    assert same(found, fitted)
    assert fit_layers(nano, COARSE, sequences, FittedStore(tmp_path, key)).keys() == fitted.keys()
    assert len(calls) == 9
    assert len(list(tmp_path.glob("streams-*"))) == 1


def test_work_of_another_calibration_is_refused(
    nano: Checkpoint, sequences: list[list[int]], tmp_path: Path
) -> None:
    FittedStore(tmp_path, store_key(nano, COARSE, sequences))
    other = Recipe(name="coarse", weights={"projections": Precision(bits=4, group_size=64)})
    for key in (store_key(nano, other, sequences), store_key(nano, COARSE, sequences[1:])):
        with pytest.raises(OptionError, match="another checkpoint, recipe or text"):
            FittedStore(tmp_path, key)


def test_too_little_text_is_refused(nano: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "sw.txt").write_text("Habari ya asubuhi", encoding="utf-8")
    with pytest.raises(CalibrationError, match="expected at least 768"):
        calibration_sequences(nano, CalibrationOptions(texts=tmp_path))


def test_what_the_text_says_nothing_of_is_rounded_and_reported(
    nano: Checkpoint, sequences: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def singular(weight_OI: Tensor, *rest: object) -> QuantizedWeight:
        if weight_OI.shape == (256, 768):
            raise SingularGramError("cannot be factorized")
        return quantize_calibrated(weight_OI, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(calibrate, "quantize_calibrated", singular)
    found = fit_layers(nano, COARSE, sequences[:1])
    model = quantize_model(nano, replace(COARSE, calibrated=True), fitted=found)
    downs = tuple(f"model.layers.{index}.mlp.down_proj.weight" for index in range(LAYERS))
    assert model.report[Role.DOWN].not_fitted == downs
    assert model.report[Role.UP].not_fitted == ()
    assert same(
        {downs[0]: model.weights[downs[0]]}, {downs[0]: quantize(nano.read(downs[0]), FOUR)}
    )


def test_activations_that_are_not_finite_name_the_layer(
    nano: Checkpoint, sequences: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: object) -> object:
        layer, streams = fit_layer(*arguments)  # type: ignore[arg-type]
        streams.fitted[0][3, 5] = torch.nan
        return layer, streams

    monkeypatch.setattr(calibrate, "fit_layer", breaks)
    with pytest.raises(CalibrationError, match="layer 0"):
        fit_layers(nano, COARSE, sequences[:1])
