"""Finds a tensor's place from its name in the checkpoint: its role and layer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a weight does in the decoder."""

    EMBEDDING = "embedding"
    HEAD = "head"
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    OUTPUT = "output"
    GATE = "gate"
    UP = "up"
    DOWN = "down"
    NORM = "norm"


class LayerKind(StrEnum):
    """What a layer's attention sees: the window, or everything older too."""

    WINDOW = "window"
    GLOBAL = "global"


TABLES = (Role.EMBEDDING, Role.HEAD)
PROJECTIONS = (
    Role.QUERY, Role.KEY, Role.VALUE, Role.OUTPUT, Role.GATE, Role.UP, Role.DOWN,
)  # fmt: skip

_ROLE_BY_SUFFIX = {
    "embed_tokens": Role.EMBEDDING,
    "lm_head": Role.HEAD,
    "q_proj": Role.QUERY,
    "k_proj": Role.KEY,
    "v_proj": Role.VALUE,
    "o_proj": Role.OUTPUT,
    "gate_proj": Role.GATE,
    "up_proj": Role.UP,
    "down_proj": Role.DOWN,
    "input_layernorm": Role.NORM,
    "norm": Role.NORM,
    "q_norm": Role.NORM,
    "k_norm": Role.NORM,
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a weight is; layer and kind are None outside of the layers."""

    role: Role
    layer: int | None = None
    kind: LayerKind | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """What a recipe may call this place, the most specific name first."""
        group = "tables" if self.role in TABLES else "projections"
        names = [str(self.role), group]
        if self.layer is None:
            return tuple(names)
        return tuple(
            [f"{self.layer}.{self.role}"]
            + [f"{self.kind}.{name}" for name in names]
            + [str(name) for name in names]
        )


def place_of(name: str, kinds: Sequence[LayerKind]) -> Place:
    """Place of the tensor `name`, such as `model.layers.3.mlp.up_proj.weight`.

    kinds: of all layers.
    """
    role = _ROLE_BY_SUFFIX[name.removesuffix(".weight").rsplit(".", 1)[-1]]
    found = re.search(r"\.layers\.(\d+)\.", name)
    if found is None:
        return Place(role=role)
    return Place(role=role, layer=int(found[1]), kind=kinds[int(found[1])])
