"""Pieces of text in; the same text out, up to the first of some stop strings, across pieces."""

from collections.abc import Sequence

from tinyaya.runtime.errors import OptionError


class StopStrings:
    """Holds back the end of a text that may become a stop string.

    Raises OptionError for an empty one, which would stop everything.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        if "" in strings:
            raise OptionError("a stop string is empty; expected at least one character")
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    @property
    def holds(self) -> bool:
        """Whether text waits for what comes next."""
        return bool(self._held)

    def add(self, piece: str) -> str:
        """Text that is now sure to come before any stop string; sets `found` at the first one."""
        text = self._held + piece
        at = min((i for stop in self._strings if (i := text.find(stop)) >= 0), default=-1)
        if at >= 0:
            self._held, self.found = "", True
            return text[:at]
        kept = max((_overlap(text, stop) for stop in self._strings), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """End the text: what was held back is part of it after all."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
