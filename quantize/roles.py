"""Which weight plays which role; in: a tensor's name in the checkpoint, out: its role."""

from enum import StrEnum


class Role(StrEnum):
    """What a weight does in the decoder; a recipe gives each role its precision."""

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


TABLES = (Role.EMBEDDING, Role.HEAD)

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
}


def role_of(name: str) -> Role:
    """Role of the tensor `name`, for example `model.layers.3.mlp.up_proj.weight` -> UP."""
    return _ROLE_BY_SUFFIX[name.removesuffix(".weight").rsplit(".", 1)[-1]]
