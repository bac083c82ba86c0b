"""Reads what the system says of its memory in /proc."""

import re
from pathlib import Path


def memory_bytes() -> dict[str, int]:
    """/proc/meminfo: bytes by name, such as MemTotal; empty where there is none."""
    meminfo = Path("/proc/meminfo")
    text = meminfo.read_text() if meminfo.exists() else ""
    found = re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)
    return {name: int(count) * 1024 for name, count in found}


def available_memory_bytes() -> int:
    """Memory that can be had without swapping; no limit where the system does not tell."""
    return memory_bytes().get("MemAvailable", 1 << 62)
