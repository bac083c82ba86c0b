"""Tells how far long work is; silent unless somebody shows it."""

from collections.abc import Callable
from typing import Protocol

Advance = Callable[[], None]


class Progress(Protocol):
    """Told of each stage, in order."""

    def stage(self, name: str, total: int | None = None) -> Advance:
        """Begin the stage `name`, ending the one before.

        total: how often the returned function will be called; None where that is unknown.
        """

    def note(self, text: str) -> None:
        """Say something that the user should know, although the work goes on."""


class NamedProgress:
    """Passes stages on, and keeps the name of the one that is under way."""

    def __init__(self, inner: Progress) -> None:
        self.name, self._inner = "start", inner

    def stage(self, name: str, total: int | None = None) -> Advance:
        """See `Progress`."""
        self.name = name
        return self._inner.stage(name, total)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._inner.note(text)


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None) -> Advance:
        """See `Progress`."""
        return lambda: None

    def note(self, text: str) -> None:
        """See `Progress`."""
