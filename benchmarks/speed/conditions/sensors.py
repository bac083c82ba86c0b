"""Reads frequencies, temperatures, power and what holds a Linux machine back from its /sys.

What the kernel does not show, or not to this user, is left out; nothing here needs root.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinyaya.benchmarks.speed.conditions.topology import CPUS_FOLDER, read_number, read_text

_THERMAL_FOLDER, _HWMON_FOLDER = Path("sys/class/thermal"), Path("sys/class/hwmon")
_POWERCAP_FOLDER, _SUPPLY_FOLDER = Path("sys/class/powercap"), Path("sys/class/power_supply")
_RASPBERRY_FILE = Path("sys/devices/platform/soc/soc:firmware/get_throttled")
_CPU_SENSORS = re.compile(
    r"cpu|soc|pkg|core|center|tctl|tdie|tj|package|ap-?thermal", re.IGNORECASE
)
_WHOLE_BOARD_RAILS = ("VDD_IN", "POM_5V_IN", "VIN", "VIN_SYS_5V0")  # what feeds the whole board
_MAX_CELSIUS = 150.0  # degrees; beyond it a sensor is broken
# Bits of the Raspberry Pi's firmware; those 16 higher say that it was so since the board started.
_RASPBERRY_BITS: Mapping[int, str] = {
    0: "the supply's voltage is too low",
    1: "the firmware caps the frequency",
    2: "the firmware throttles",
    3: "the firmware's soft limit of temperature is reached",
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One moment. hz and limit_hz: by first cpu of a frequency domain; limit: the kernel's own.

    joules: what a counter has counted; watts: of a meter; None where there is no such sensor.
    states and counts: what slows the processor down, by name; a state of zero and a count that
    stays: nothing does.
    """

    at_s: float
    hz: Mapping[int, float] = field(default_factory=dict)
    limit_hz: Mapping[int, float] = field(default_factory=dict)
    celsius: Mapping[str, float] = field(default_factory=dict)
    joules: float | None = None
    watts: float | None = None
    states: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class Sensors:
    """Finds a machine's sensors once, and reads them.

    root: `/`, or a copy of what is below it. cpus: whose frequencies are of interest; none: all.
    """

    def __init__(self, root: Path = Path("/"), cpus: Sequence[int] = ()) -> None:
        self._domains = dict(_domains(root, cpus))
        self._zones = dict(_zones(root))
        self._states, self._counts = dict(_states(root)), dict(_counts(root))
        self._raspberry = root / _RASPBERRY_FILE
        self._counters = dict(_counters(root))
        self._wraps = dict.fromkeys(self._counters, 0.0)
        self._last = dict.fromkeys(self._counters, 0.0)
        self._rail = None if self._counters else _rail(root)
        self._battery = None if self._counters or self._rail else _battery(root)

    @property
    def energy(self) -> str | None:
        """What energy is measured with; None: nothing."""
        if self._counters:
            return "RAPL: " + " + ".join(_name(path) for path in self._counters)
        found = self._rail or self._battery
        return found.name if found else None

    def describe(self) -> tuple[str, ...]:
        """Names of what there is to read."""
        kinds = {
            "frequency": [f"cpu{cpu}" for cpu in self._domains],
            "temperature": list(self._zones),
            "throttling": [
                *self._states,
                *self._counts,
                *(["get_throttled"] * self._raspberry.exists()),
            ],
            "energy": [self.energy] if self.energy else [],
        }
        return tuple(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)

    def read(self, at_s: float) -> Reading:
        """All of them now; at_s: what the clock says."""
        hz = {cpu: read_number(path / "scaling_cur_freq") for cpu, path in self._domains.items()}
        limits = {
            cpu: read_number(path / "scaling_max_freq") for cpu, path in self._domains.items()
        }
        meter = self._rail or self._battery
        return Reading(
            at_s=at_s,
            hz={cpu: value * 1e3 for cpu, value in hz.items() if value},
            limit_hz={cpu: value * 1e3 for cpu, value in limits.items() if value},
            celsius=dict(self._temperatures()),
            joules=self._joules() if self._counters else None,
            watts=meter.watts() if meter else None,
            states={**_numbers(self._states), **self._firmware()},
            counts=_numbers(self._counts),
        )

    def _temperatures(self) -> Iterator[tuple[str, float]]:
        for name, path in self._zones.items():
            value = read_number(path)
            if value is not None and 0 < value / 1e3 < _MAX_CELSIUS:
                yield name, value / 1e3

    def _joules(self) -> float | None:
        """Sum of the counters; one that has begun anew counts on."""
        total = 0.0
        for folder in self._counters:
            count = read_number(folder / "energy_uj")
            if count is None:
                return None
            if count < self._last[folder]:
                self._wraps[folder] += self._counters[folder]
            self._last[folder] = count
            total += count + self._wraps[folder]
        return total / 1e6

    def _firmware(self) -> dict[str, int]:
        text = read_text(self._raspberry).strip()
        try:
            bits = int(text, 16)
        except ValueError:
            return {}
        return {name: bits >> bit & 1 for bit, name in _RASPBERRY_BITS.items()}


@dataclass(frozen=True, kw_only=True)
class _Meter:
    """Files whose product, times `scale`, is watts."""

    name: str
    files: Sequence[Path]
    scale: float
    status: Path | None = None

    def watts(self) -> float | None:
        """None where a file cannot be read, or the battery is being charged."""
        if self.status and read_text(self.status).strip() != "Discharging":
            return None
        product = self.scale
        for path in self.files:
            value = read_number(path)
            if value is None:
                return None
            product *= abs(value)
        return product


def _numbers(files: Mapping[str, Path]) -> dict[str, int]:
    return {name: read_number(path) or 0 for name, path in files.items()}


def _domains(root: Path, cpus: Sequence[int]) -> Iterator[tuple[int, Path]]:
    for path in sorted((root / CPUS_FOLDER / "cpufreq").glob("policy*")):
        texts = read_text(path / "related_cpus").split() or [path.name.removeprefix("policy")]
        found = [int(text) for text in texts if text.isdigit()]
        if found and (not cpus or set(found) & set(cpus)):
            yield found[0], path


def _zones(root: Path) -> Iterator[tuple[str, Path]]:
    """The processor's own temperatures: thermal zones, or else hwmon's."""
    found = []
    for path in sorted((root / _THERMAL_FOLDER).glob("thermal_zone*")):
        name = read_text(path / "type").strip()
        if _CPU_SENSORS.search(name):
            found.append((name, path / "temp"))
    for path in [] if found else sorted((root / _HWMON_FOLDER).glob("hwmon*/temp*_input")):
        label = read_text(path.with_name(path.name.replace("_input", "_label"))).strip()
        name = f"{read_text(path.parent / 'name').strip()} {label}".strip()
        if _CPU_SENSORS.search(name) or name.startswith("k10temp"):
            found.append((name, path))
    yield from found


def _states(root: Path) -> Iterator[tuple[str, Path]]:
    """Cooling that lowers the processor's frequency."""
    for path in sorted((root / _THERMAL_FOLDER).glob("cooling_device*")):
        kind = read_text(path / "type").strip()
        if re.search(r"cpu|^processor", kind, re.IGNORECASE):
            yield f"cooling by {kind} ({path.name})", path / "cur_state"


def _counts(root: Path) -> Iterator[tuple[str, Path]]:
    """x86's own counters of throttling."""
    for path in sorted((root / CPUS_FOLDER).glob("cpu[0-9]*/thermal_throttle/*_throttle_count")):
        yield f"{path.parent.parent.name} {path.name.removesuffix('_throttle_count')}", path


def _counters(root: Path) -> Iterator[tuple[Path, float]]:
    """RAPL's packages, and after how many microjoules each begins anew."""
    for path in sorted((root / _POWERCAP_FOLDER).glob("*-rapl:*")):
        whole = path.name.count(":") == 1 and _name(path).startswith("package")
        if whole and read_number(path / "energy_uj") is not None:
            yield path, float(read_number(path / "max_energy_range_uj") or 0)


def _name(folder: Path) -> str:
    return read_text(folder / "name").strip()


def _rail(root: Path) -> _Meter | None:
    """The INA sensor that sees the whole board; None where none is known to."""
    rails = {}
    for folder in sorted((root / _HWMON_FOLDER).glob("hwmon*")):
        if not (chip := _name(folder)).startswith("ina"):
            continue
        for path in sorted(folder.glob("power*_input")):
            rails[chip] = _Meter(name=chip, files=(path,), scale=1e-6)
        for path in sorted(folder.glob("curr*_input")):
            volts = folder / path.name.replace("curr", "in")
            label = read_text(volts.with_name(volts.name.replace("_input", "_label"))).strip()
            name = f"{chip} {label or path.name.removesuffix('_input')}"
            if volts.exists():
                rails[label or name] = _Meter(name=name, files=(path, volts), scale=1e-6)
    whole = [rails[name] for name in _WHOLE_BOARD_RAILS if name in rails]
    single = list(rails.values()) if len(rails) == 1 else []
    return next(iter([*whole, *single]), None)


def _battery(root: Path) -> _Meter | None:
    for path in sorted((root / _SUPPLY_FOLDER).glob("*")):
        if read_text(path / "type").strip() != "Battery":
            continue
        status = path / "status"
        name = f"battery {path.name}"
        if (path / "power_now").exists():
            return _Meter(name=name, files=(path / "power_now",), scale=1e-6, status=status)
        files = (path / "current_now", path / "voltage_now")
        if all(file.exists() for file in files):
            return _Meter(name=name, files=files, scale=1e-12, status=status)
    return None
