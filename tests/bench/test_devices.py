"""Predictions against what others published, and devices that are not there."""

import json
from pathlib import Path
from statistics import median

import pytest

from tests.bench.made_results import write_all
from tinyaya.benchmarks.speed.any_file import read_results
from tinyaya.export.plan.devices import (
    Device,
    describe,
    find_device,
    measured_device,
    predict,
    read_devices,
)
from tinyaya.export.plan.needs import Needs
from tinyaya.runtime.errors import BenchError, OptionError
from tinyaya.runtime.facts import KvLayer

AYA = Needs(
    memory_bytes=3_100_000_000,
    weights_read_bytes=2_130_000_000,
    context=8192,
    layers=(KvLayer(window=4096, position_bytes=1000), KvLayer(window=None, position_bytes=1000)),
)


def test_predictions_of_other_models_are_near_what_was_published() -> None:
    """A device's rate comes from one published figure; it must predict the others."""
    errors = {}
    for device in read_devices().values():
        for figure in device.figures:
            if figure.predicts and figure.model not in device.basis.split(" drew")[0]:
                assert device.read_bytes_per_s and figure.bytes
                found = device.read_bytes_per_s / figure.bytes
                errors[device.name, figure.model] = found / figure.decode_per_s - 1
    for (device_name, model), error in errors.items():
        print(f"{device_name}, {model}: predicted {error:+.1%} of what was published")  # noqa: T201
    assert len(errors) >= 8
    typical = median(abs(error) for error in errors.values())
    print(f"median error {typical:.1%}, largest {max(map(abs, errors.values())):.1%}")  # noqa: T201
    assert typical < 0.08
    assert max(map(abs, errors.values())) < 0.35


def test_rates_are_those_of_the_figure_that_they_name() -> None:
    for device in read_devices().values():
        if device.read_bytes_per_s:
            (basis,) = [one for one in device.figures if f"what {one.model} drew" in device.basis]
            assert basis.bytes
            assert device.read_bytes_per_s == pytest.approx(
                basis.bytes * basis.decode_per_s, rel=2e-3
            )


def test_every_figure_has_a_source_and_every_guess_is_left_out() -> None:
    devices = read_devices()
    assert {"pi4", "pi5", "jetson-nano", "jetson-orin-nano", "rk3588", "rk3566"} < devices.keys()
    for device in devices.values():
        for figure in device.figures:
            assert figure.source
            assert figure.predicts or figure.note
            assert not figure.predicts or figure.bytes


def test_a_prediction_says_that_it_is_one() -> None:
    pi = find_device("pi5")
    found = predict(pi, AYA)
    assert found.predicted
    assert found.fits == {4_000_000_000: True, 8_000_000_000: True, 16_000_000_000: True}
    lines = list(describe(found, pi))
    assert lines[0] == "on Raspberry Pi 5, predicted, not measured:"
    for line in lines[1:]:
        assert line.startswith(("  predicted", "  which rests on", "  published there"))


def test_rates_follow_from_bytes_and_fall_with_the_context() -> None:
    found = predict(find_device("pi5"), AYA)
    assert found.bytes_per_token == {0: 2_130_002_000, 8191: 2_130_000_000 + 4_096_000 + 8_192_000}
    assert found.decode_per_s[0] == pytest.approx(9.76e9 / 2_130_002_000)
    assert 4 < found.decode_per_s[0] < 4.7  # as others estimate it for 2.1 to 2.4 GB
    assert found.decode_per_s[8191] < found.decode_per_s[0]


def test_what_does_not_fit_is_told() -> None:
    phone = Device(key="x", name="x", kind="phone", memory_bytes=(4_000_000_000, 8_000_000_000))
    found = predict(phone, AYA)
    assert found.fits == {4_000_000_000: False, 8_000_000_000: True}
    assert found.decode_per_s == {}
    text = "\n".join(describe(found, phone))
    assert "does not fit 4 GB, fits 8 GB" in text
    assert "predicted decode  none" in text


def test_an_own_board_predicts_by_what_it_drew(tmp_path: Path) -> None:
    paths = write_all(tmp_path)
    board = _measured(paths[0])
    assert board.read_bytes_per_s == pytest.approx(4.4 * 2_100_067_584, rel=1e-3)
    assert not board.at_most
    raw = json.loads(paths[0].read_text())
    for row in raw["results"]:
        row["bytes_read_per_token"] = 7_000_000  # so small that a cache holds it
    paths[0].write_text(json.dumps(raw))
    bound = _measured(paths[0])
    assert (bound.read_bytes_per_s, bound.at_most) == (12e9, True)
    assert "at most" in "\n".join(describe(predict(bound, AYA), bound))
    with pytest.raises(BenchError, match="no read bandwidth"):
        _measured(paths[3])


def test_unknown_devices_are_refused_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no device is called 'pi6'; known: pi4, pi5"):
        find_device("pi6")
    with pytest.raises(BenchError, match="cannot be read"):
        _measured(tmp_path / "none.json")


def _measured(path: Path) -> Device:
    file = read_results(path)
    return measured_device(file.name, file.title, file.machine, file.rows)
