"""Sensors, clusters and what is made of them, on machines made of files."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.bench.made_machines import CPU, jetson, phone, pi5, rk3588, write, x86
from tinyaya.benchmarks.speed.conditions.machine import is_emulated
from tinyaya.benchmarks.speed.conditions.sensors import Reading, Sensors
from tinyaya.benchmarks.speed.conditions.topology import (
    big_clusters,
    choose_cpus,
    core_count,
    read_clusters,
)
from tinyaya.benchmarks.speed.conditions.watch import Span, Watch, energy_per_token, judge
from tinyaya.benchmarks.speed.places.local import cool_down
from tinyaya.runtime.errors import OptionError


def test_big_cores_of_an_rk3588_are_its_last_four(tmp_path: Path) -> None:
    clusters = read_clusters(rk3588(tmp_path), range(8))
    assert [(one.part, one.cpus) for one in clusters] == [
        ("Cortex-A76", (6, 7)),
        ("Cortex-A76", (4, 5)),
        ("Cortex-A55", (0, 1, 2, 3)),
    ]
    assert clusters[0].max_hz == 2.304e9
    assert choose_cpus(clusters, "big") == (4, 5, 6, 7)
    assert choose_cpus(clusters, "all") == tuple(range(8))
    assert choose_cpus(clusters, "0-2,7") == (0, 1, 2, 7)
    assert len(big_clusters(clusters)) == 2


@pytest.mark.parametrize("wrong", ["", "7-", "4-9", "little", "0;1", "5-3"])
def test_cores_that_are_not_there_are_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"expected big, all|not all there"):
        choose_cpus(read_clusters(rk3588(tmp_path), range(8)), wrong)


def test_threads_of_a_core_count_once(tmp_path: Path) -> None:
    clusters = read_clusters(x86(tmp_path), range(4))
    assert [(one.part, one.cores) for one in clusters] == [("Made-up CPU @ 3.00GHz", 2)]
    assert core_count(clusters, (0, 1, 2, 3)) == 2
    assert core_count(clusters, (0, 1)) == 2


def test_a_machine_without_any_files_is_one_cluster(tmp_path: Path) -> None:
    (cluster,) = read_clusters(tmp_path, range(3))
    assert (cluster.cpus, cluster.max_hz, cluster.part) == ((0, 1, 2), None, "")
    sensors = Sensors(tmp_path)
    assert sensors.describe() == ()
    assert sensors.read(1.0) == Reading(at_s=1.0)


def test_only_the_processors_temperatures_count(tmp_path: Path) -> None:
    assert Sensors(rk3588(tmp_path / "a")).read(0).celsius == {
        "soc-thermal": 40.0,
        "bigcore0-thermal": 43.5,
    }
    assert Sensors(x86(tmp_path / "b")).read(0).celsius == {"coretemp Package id 0": 61.0}
    assert Sensors(jetson(tmp_path / "c")).read(0).celsius == {"cpu-thermal": 47.0}


def test_frequencies_are_those_of_the_cores_in_use(tmp_path: Path) -> None:
    sensors = Sensors(rk3588(tmp_path), cpus=(4, 5, 6, 7))
    assert sensors.read(0).hz == {4: 2.256e9, 6: 2.304e9}


def test_a_jetsons_power_is_that_of_the_whole_board(tmp_path: Path) -> None:
    sensors = Sensors(jetson(tmp_path))
    assert sensors.energy == "ina3221 VDD_IN"
    assert sensors.read(0).watts == pytest.approx(7.5)


def test_rails_of_which_none_is_the_whole_are_not_added(tmp_path: Path) -> None:
    root = jetson(tmp_path)
    write(root, {"sys/class/hwmon/hwmon1/in1_label": "VDD_OTHER"})
    assert Sensors(root).energy is None


def test_a_battery_counts_while_it_is_discharged(tmp_path: Path) -> None:
    sensors = Sensors(phone(tmp_path))
    assert sensors.read(0).watts == pytest.approx(3.2)
    write(tmp_path, {"sys/class/power_supply/battery/status": "Charging"})
    assert sensors.read(0).watts is None


def test_rapl_goes_on_when_its_counter_begins_anew(tmp_path: Path) -> None:
    sensors = Sensors(x86(tmp_path))
    assert sensors.energy == "RAPL: package-0"
    first = sensors.read(0).joules
    write(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": 500_000})
    second = sensors.read(1).joules
    assert first is not None and second is not None
    assert second - first == pytest.approx(1.5)


@pytest.mark.parametrize("bits", ["1", "2", "4", "8"])
def test_a_pis_firmware_says_that_it_throttles(bits: str, tmp_path: Path) -> None:
    sensors = Sensors(pi5(tmp_path))
    assert not judge([sensors.read(0)], {}, {}, None).throttled  # a fan that turns is no throttling
    write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": bits})
    found = judge([sensors.read(0)], {}, {}, None)
    assert found.throttled and len(found.reasons) == 1
    write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "50000"})
    assert not judge([sensors.read(0)], {}, {}, None).throttled  # once, before this


def test_cooling_a_lowered_limit_and_counters_are_throttling(tmp_path: Path) -> None:
    root = rk3588(tmp_path / "a")
    sensors = Sensors(root)
    first = sensors.read(0)
    write(root, {"sys/class/thermal/cooling_device1/cur_state": 2})
    assert "cpufreq-cpu4" in judge([first, sensors.read(1)], {}, {}, None).reasons[0]
    write(root, {"sys/class/thermal/cooling_device1/cur_state": 0})
    write(root, {f"{CPU}/cpufreq/policy4/scaling_max_freq": 1_200_000})
    (reason,) = judge([first, sensors.read(1)], {}, {}, None).reasons
    assert "limit of cpu4" in reason
    root = x86(tmp_path / "b")
    sensors = Sensors(root)
    readings = [sensors.read(0)]
    assert not judge([*readings, sensors.read(1)], {}, {}, None).throttled
    write(root, {f"{CPU}/cpu2/thermal_throttle/core_throttle_count": 8})
    assert judge([*readings, sensors.read(2)], {}, {}, None).throttled


def test_slow_cores_are_told(tmp_path: Path) -> None:
    readings = [Reading(at_s=float(at), hz={0: hz}) for at, hz in enumerate([2.4e9] + [1.5e9] * 9)]
    found = judge(readings, {0: 2.4e9}, {}, None)
    assert found.share_of_max_hz == pytest.approx(1.5 / 2.4)
    assert "62%" in found.reasons[0]
    fast = [Reading(at_s=float(at), hz={0: 2.3e9}) for at in range(10)]
    assert not judge(fast, {0: 2.4e9}, {}, None).throttled


def test_energy_is_the_integral_of_power() -> None:
    """Against numpy's own integral of a finer curve."""
    power = lambda at: 5 + 2 * np.sin(at)  # noqa: E731
    readings = [Reading(at_s=at, watts=float(power(at))) for at in np.arange(0, 20, 0.05).tolist()]
    fine = np.linspace(3, 11, 100_001)
    expected = np.trapezoid(power(fine), fine) / 40
    found = energy_per_token(readings, Span(start_s=3, end_s=11, tokens=40))
    assert found == pytest.approx(expected, rel=1e-3)
    counted = [Reading(at_s=float(at), joules=100 + 3.0 * at) for at in range(20)]
    assert energy_per_token(counted, Span(start_s=2.5, end_s=12.5, tokens=10)) == pytest.approx(3)


def test_energy_of_a_moment_is_not_guessed() -> None:
    readings = [Reading(at_s=float(at), watts=5.0) for at in range(20)]
    assert energy_per_token(readings, Span(start_s=3.1, end_s=5.9, tokens=9)) is None
    assert energy_per_token([Reading(at_s=0.0)], Span(start_s=0, end_s=1, tokens=9)) is None


def test_a_watch_reads_while_something_else_works(tmp_path: Path) -> None:
    root = pi5(tmp_path)
    with Watch(Sensors(root), interval_s=0.02) as watch:
        time.sleep(0.2)
        write(root, {"sys/class/thermal/thermal_zone0/temp": 84_000})
        time.sleep(0.2)
    found = watch.conditions({0: 2.4e9}, {})
    assert (found.start_celsius, found.top_celsius) == (51.2, 84.0)
    assert 5 < len(found.log) <= 120
    assert found.log[-1].hz == 2.4e9


def test_it_rests_until_the_processor_is_cool(tmp_path: Path) -> None:
    root, rests = pi5(tmp_path), []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        write(root, {"sys/class/thermal/thermal_zone0/temp": 80_000 - 10_000 * len(rests)})

    cool_down(Sensors(root), 3.0, 52.0, rest)
    assert rests == [3.0] * 3  # 70, 60, 50
    rests.clear()
    cool_down(Sensors(root), 3.0, 0.0, lambda seconds: rests.append(seconds))
    assert len(rests) == 10  # a hot day ends, too
    rests.clear()
    cool_down(Sensors(root), 0.0, 0.0, rest)
    assert not rests


@pytest.mark.parametrize(
    ("machine", "files", "emulated"),
    [
        ("aarch64", {"proc/sys/kernel/arch": "x86_64"}, True),
        ("aarch64", {"sys/devices/system/cpu/modalias": "cpu:type:x86,ven0000fam0006"}, True),
        ("x86_64", {"proc/sys/kernel/arch": "x86_64"}, False),
        ("armv7l", {"proc/sys/kernel/arch": "aarch64"}, False),  # 32-bit programs, same processor
        ("aarch64", {}, False),
    ],
)
def test_an_emulator_is_known(machine: str, files: dict, emulated: bool, tmp_path: Path) -> None:
    assert is_emulated(write(tmp_path, files), machine) is emulated
