"""How long work tells what it does; silent unless somebody shows it."""

from collections.abc import Callable
from typing import Protocol

Advance = Callable[[], None]


class Progress(Protocol):
    """Told of each stage, in order."""

    def stage(self, name: str, total: int | None = None) -> Advance:
        """Begin the stage `name`, ending the one before.

        total: how often the returned function will be called; None where that is unknown.
        """


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None) -> Advance:
        """See `Progress`."""
        return lambda: None
