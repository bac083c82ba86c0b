"""Tells whether memory ran out, where, and what would help."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tinyaya.export.errors import OutOfMemoryError
from tinyaya.export.options import ExportOptions
from tinyaya.runtime.progress import NamedProgress

# What torch, ONNX Runtime, C++ and ExecuTorch say; each raises it as an error of its own kind.
_OUT_OF_MEMORY_MESSAGES = (
    "can't allocate memory",
    "Failed to allocate memory",
    "Cannot allocate memory",
    "bad allocation",
    "bad_alloc",
    "error 0x21",
    "error code: 0x21",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, be it in the cause of the cause of `error`."""
    cause: BaseException | None = error
    for _ in range(20):  # chains may be circular
        if cause is None:
            return False
        if isinstance(cause, MemoryError):
            return True
        if isinstance(cause, OSError) and cause.errno == errno.ENOMEM:
            return True
        if any(text in str(cause) for text in _OUT_OF_MEMORY_MESSAGES):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@contextmanager
def memory_explained(
    progress: NamedProgress, options: ExportOptions, needed_bytes: int
) -> Iterator[None]:
    """Raise OutOfMemoryError where memory runs out inside; needed_bytes: what was planned."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        ways = ["a smaller --context"]
        ways += ["one --backend at a time"] if options.backend == "both" else []
        ways += ["--no-verify"] if options.verify else []
        ways += ["fewer --calibration-tokens"] if progress.name == "calibrate" else []
        raise OutOfMemoryError(
            f"memory ran out at the stage '{progress.name}'; the export was planned to need "
            f"{needed_bytes / 1e9:.2f} GB; use {', '.join(ways)} or a larger machine"
        ) from error
