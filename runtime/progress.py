"""Tells how far long work is; silent unless somebody shows it."""

from typing import Protocol


class Advance(Protocol):
    """Tells of steps that are done."""

    def __call__(self, steps: int = 1) -> None:
        """So many more are done."""


class Progress(Protocol):
    """Told of each stage, in order."""

    def stage(self, name: str, total: int | None = None, *, unit: str = "") -> Advance:
        """Begin the stage `name`, ending the one before.

        total: how many steps the returned function will tell of; None where that is unknown.
        unit: of a step, "B" for bytes.
        """

    def note(self, text: str) -> None:
        """Say something that the user should know, although the work goes on."""


class NamedProgress:
    """Passes stages on, and keeps the name of the one that is under way."""

    def __init__(self, inner: Progress) -> None:
        self.name, self._inner = "start", inner

    def stage(self, name: str, total: int | None = None, *, unit: str = "") -> Advance:
        """See `Progress`."""
        self.name = name
        return self._inner.stage(name, total, unit=unit)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._inner.note(text)


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None, *, unit: str = "") -> Advance:
        """See `Progress`."""
        return lambda steps=1: None

    def note(self, text: str) -> None:
        """See `Progress`."""
