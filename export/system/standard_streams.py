"""Makes stdin, stdout and stderr fit for use, where they are closed, full or not UTF-8."""

import io
import os
import sys
from typing import Any

_LAST = 2  # stderr


class _Heedless(io.FileIO):
    """Loses what cannot be written: no work ends because nobody can be told of it."""

    def write(self, data: Any) -> int:
        """See `io.FileIO`."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Open closed ones to nowhere; what an encoding lacks is written with backslashes.

    A number that is free would be that of the next file, into which libraries then print.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        os.set_inheritable(number, True)  # noqa: FBT003
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    if type(sys.stdout) is io.TextIOWrapper:  # no test's own
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None or type(sys.stderr) is io.TextIOWrapper:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Heedless(_LAST, "w", closefd=False)),
            encoding=getattr(sys.stderr, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=True,
        )


def abandon_output() -> None:
    """Send what stdout still holds to nowhere, or Python complains of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
