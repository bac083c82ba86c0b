"""Keeps measured losses in the user's cache, so that a killed measurement goes on.

A line a layer in JSON; a finished file serves the next budget at once.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinyaya.export.quality.loss import Loss, parse_loss
from tinyaya.export.source.checkpoint import Checkpoint

_METHOD_VERSION = 1  # counts changes of the method, after which old losses do not hold


class KeptLosses:
    """The losses of a checkpoint's layers, as far as they have been measured.

    measured: all that they depend on beside the checkpoint. tell: told once where the cache cannot
    be written; the measurement is then made, and not kept.
    """

    def __init__(
        self, checkpoint: Checkpoint, measured: Mapping[str, Any], tell: Callable[[str], None]
    ) -> None:
        states = sorted((path.name, str(state)) for path, state in checkpoint.states.items())
        key = json.dumps([_METHOD_VERSION, states, measured], sort_keys=True)
        name = f"losses-{hashlib.sha256(key.encode()).hexdigest()[:16]}.jsonl"
        self._path, self._tell = cache_folder() / name, tell

    def read(self) -> dict[int, tuple[Loss, ...]]:
        """Layer -> losses of its weights; a line that a kill cut short counts for nothing."""
        found: dict[int, tuple[Loss, ...]] = {}
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return found
        for line in lines:
            with suppress(ValueError, TypeError, KeyError, IndexError):
                losses = tuple(map(parse_loss, json.loads(line)))
                found[losses[0].layer] = losses
        return found

    def add(self, losses: tuple[Loss, ...]) -> None:
        """Keep those of one layer."""
        line = json.dumps([asdict(row) for row in losses]) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" * torn + line)
        except OSError as error:
            self._tell(f"losses cannot be kept: {error}; a killed measurement begins anew")
            self._tell = lambda text: None


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tinyaya-export"
