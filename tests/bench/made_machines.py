"""/sys and /proc of boards, as their kernels lay them out, in a folder."""

from collections.abc import Mapping
from pathlib import Path

CPU = "sys/devices/system/cpu"


def write(root: Path, files: Mapping[str, object]) -> Path:
    """Write each text to its place below `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def _cores(cpus: range, midr: str, khz: int, capacity: int) -> dict[str, object]:
    first = f"{CPU}/cpufreq/policy{cpus[0]}"
    files: dict[str, object] = {
        f"{first}/related_cpus": " ".join(map(str, cpus)),
        f"{first}/scaling_cur_freq": khz,
        f"{first}/scaling_max_freq": khz,
        f"{first}/scaling_governor": "ondemand",
    }
    for cpu in cpus:
        folder = f"{CPU}/cpu{cpu}"
        files |= {
            f"{folder}/cpu_capacity": capacity,
            f"{folder}/cpufreq/cpuinfo_max_freq": khz,
            f"{folder}/regs/identification/midr_el1": midr,
            f"{folder}/topology/thread_siblings_list": cpu,
        }
    return files


def _zone(number: int, kind: str, millicelsius: int) -> dict[str, object]:
    folder = f"sys/class/thermal/thermal_zone{number}"
    return {f"{folder}/type": kind, f"{folder}/temp": millicelsius}


def pi5(root: Path) -> Path:
    """Four Cortex-A76, one temperature, the firmware's own word on throttling."""
    return write(
        root,
        {
            **_cores(range(4), "0x00000000414fd0b1", 2_400_000, 1024),
            **_zone(0, "cpu-thermal", 51_200),
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
            "sys/class/thermal/cooling_device0/type": "pwm-fan",
            "sys/class/thermal/cooling_device0/cur_state": 3,
        },
    )


def rk3588(root: Path) -> Path:
    """Four Cortex-A55 first, then two pairs of Cortex-A76 whose frequencies differ."""
    return write(
        root,
        {
            **_cores(range(4), "0x00000000412fd050", 1_800_000, 414),
            **_cores(range(4, 6), "0x00000000414fd0b0", 2_256_000, 1024),
            **_cores(range(6, 8), "0x00000000414fd0b0", 2_304_000, 1024),
            **_zone(0, "soc-thermal", 40_000),
            **_zone(1, "bigcore0-thermal", 43_500),
            **_zone(2, "gpu-thermal", 99_000),
            "sys/class/thermal/cooling_device1/type": "cpufreq-cpu4",
            "sys/class/thermal/cooling_device1/cur_state": 0,
        },
    )


def jetson(root: Path) -> Path:
    """Six Cortex-A78AE, and an INA3221 whose first channel feeds the whole board."""
    ina = "sys/class/hwmon/hwmon1"
    rails = (("VDD_IN", 5000, 1500), ("VDD_CPU_GPU_CV", 5000, 700), ("VDD_SOC", 5000, 300))
    files: dict[str, object] = {f"{ina}/name": "ina3221"}
    for channel, (label, millivolt, milliampere) in enumerate(rails, start=1):
        files[f"{ina}/in{channel}_label"] = label
        files[f"{ina}/in{channel}_input"] = millivolt
        files[f"{ina}/curr{channel}_input"] = milliampere
    return write(
        root,
        {
            **_cores(range(6), "0x00000000410fd421", 1_510_400, 1024),
            **_zone(0, "cpu-thermal", 47_000),
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": 90_000,
            **files,
        },
    )


def x86(root: Path) -> Path:
    """Two cores of two threads, RAPL with a zone inside the package, a counter of throttling."""
    cap = "sys/class/powercap"
    block = "processor\t: {}\nmodel name\t: Made-up CPU @ 3.00GHz\n"
    files: dict[str, object] = {
        "proc/cpuinfo": "\n".join(block.format(cpu) for cpu in range(4)),
        f"{cap}/intel-rapl:0/name": "package-0",
        f"{cap}/intel-rapl:0/energy_uj": 9_000_000,
        f"{cap}/intel-rapl:0/max_energy_range_uj": 10_000_000,
        f"{cap}/intel-rapl:0:0/name": "core",
        f"{cap}/intel-rapl:0:0/energy_uj": 5_000_000,
        "sys/class/hwmon/hwmon0/name": "coretemp",
        "sys/class/hwmon/hwmon0/temp1_label": "Package id 0",
        "sys/class/hwmon/hwmon0/temp1_input": 61_000,
    }
    for cpu in range(4):
        files[f"{CPU}/cpu{cpu}/topology/thread_siblings_list"] = f"{cpu % 2},{cpu % 2 + 2}"
        files[f"{CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq"] = 3_000_000
        files[f"{CPU}/cpu{cpu}/thermal_throttle/core_throttle_count"] = 7
    return write(root, files)


def phone(root: Path) -> Path:
    """A battery that is being discharged, as power_supply has it."""
    supply = "sys/class/power_supply"
    return write(
        root,
        {
            f"{supply}/usb/type": "USB",
            f"{supply}/battery/type": "Battery",
            f"{supply}/battery/status": "Discharging",
            f"{supply}/battery/current_now": -800_000,
            f"{supply}/battery/voltage_now": 4_000_000,
        },
    )
