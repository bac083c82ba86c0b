"""Reads what the system says of itself in /proc."""

from pathlib import Path


def available_memory_bytes() -> int:
    """Memory that can be had without swapping, from /proc/meminfo; without it, no limit."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 1 << 62
    rows = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024
