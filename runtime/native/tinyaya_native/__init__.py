"""Says where the library is that runs ExecuTorch programs without torch."""

from pathlib import Path

LIBRARY = Path(__file__).with_name("libtinyaya_native.so")
