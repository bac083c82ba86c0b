"""Holds what a quantized weight alone costs the model, and reads files of that."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyaya.quantize.budget import Choice
from tinyaya.quantize.roles import LayerKind, Role
from tinyaya.runtime.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What one weight at one precision, alone, costs the model; kl: mean over languages."""

    layer: int
    kind: LayerKind
    role: Role
    option: str
    size_bytes: int
    kl: float

    @property
    def choice(self) -> Choice:
        """As the budget wants it."""
        return Choice(
            weight=f"{self.layer}.{self.role}",
            option=self.option,
            size_bytes=self.size_bytes,
            loss=self.kl,
        )


def parse_loss(raw: Mapping[str, Any]) -> Loss:
    """The loss that plain values describe; raises ValueError, TypeError or KeyError."""
    return Loss(**{**raw, "kind": LayerKind(raw["kind"]), "role": Role(raw["role"])})


def read_losses(path: Path) -> tuple[Loss, ...]:
    """The losses that `sensitivity` wrote; raises OptionError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))["losses"]
        return tuple(map(parse_loss, raw))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise OptionError(
            f"{path}: cannot read losses: {error!r}; expected what `sensitivity --out` writes"
        ) from error
