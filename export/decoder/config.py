"""Reads the decoder's sizes from a Hugging Face config of Cohere or Cohere2.

Cohere (Command R, Aya Expanse) is Cohere2 without windows and with rotary positions in all layers;
it may normalize queries and keys. A config that means another computation is refused by name, never
ignored.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyaya.export.errors import ConfigError
from tinyaya.quantize.roles import LayerKind

_MAX_LAYERS = 1000  # far more than any model has; each takes memory before it is read
WINDOW_TYPE, GLOBAL_TYPE = "sliding_attention", "full_attention"


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """One layer's attention.

    window: how many keys a query sees, itself included (key visible iff q - window < k <= q);
    None: all. rotary: whether queries and keys are rotated by their positions.
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int | None
    rotary: bool


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of the decoder, with the names of the fact that each stands for.

    head_norms: whether each head's queries and keys are normalized before they are rotated.
    """

    model_type: str
    vocab_size: int
    width: int
    ffn_width: int
    layers: tuple[AttentionConfig, ...]
    rope_theta: float
    norm_eps: float
    logit_scale: float
    head_norms: bool
    tied: bool
    max_context: int

    @property
    def window(self) -> int | None:
        """The window of the window layers; None where there is none."""
        return next((layer.window for layer in self.layers if layer.window), None)

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """Of all layers."""
        return tuple(
            LayerKind.GLOBAL if layer.window is None else LayerKind.WINDOW for layer in self.layers
        )


# Keys that may be present only with the value that this decoder computes.
_REQUIRED_VALUES: Mapping[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "use_parallel_block": (True,),
    "use_parallel_embedding": (False,),
    "use_gated_activation": (True,),
    "position_embedding_type": ("rope_gptj",),
    "order_of_interleaved_layers": ("local_attn_first",),
    "rotary_pct": (1.0,),
    "rope_scaling": (None, {"type": "default"}, {"rope_type": "default"}),
    "quantization_config": (None,),
}
# Of Cohere there is none: it is another in every second version of transformers.
_DEFAULT_ROPE_THETAS = {"cohere2": 10000.0}
# Keys likewise, by architecture.
_REQUIRED_BY_ARCHITECTURE: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "cohere2": {"use_qk_norm": (False, None)},
    "cohere": {
        "sliding_window": (None,),
        "sliding_window_pattern": (None,),
        "layer_types": (None,),
        "layer_switch": (None,),
    },
}


def parse_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Sizes from the parsed `config.json`; raises ConfigError with what is not supported."""
    _refuse_other_computations(raw)
    heads = _positive(raw, "num_attention_heads")
    kv_heads = _positive(raw, "num_key_value_heads", heads)
    width = _positive(raw, "hidden_size")
    head_dim = _positive(raw, "head_dim", width // heads)
    if heads % kv_heads or head_dim * heads != width or head_dim % 2:
        raise ConfigError(
            f"hidden_size {width}, {heads} query heads, {kv_heads} key-value heads and head_dim "
            f"{head_dim} do not fit: head_dim must be even and hidden_size / heads, and key-value "
            "heads must divide the query heads"
        )
    windowed = raw["model_type"] == "cohere2"
    kinds = _layer_kinds(raw) if windowed else [GLOBAL_TYPE] * _layer_count(raw)
    window = _positive(raw, "sliding_window") if WINDOW_TYPE in kinds else None
    return DecoderConfig(
        model_type=raw["model_type"],
        vocab_size=_positive(raw, "vocab_size"),
        width=width,
        ffn_width=_positive(raw, "intermediate_size"),
        layers=tuple(
            AttentionConfig(
                heads=heads,
                kv_heads=kv_heads,
                head_dim=head_dim,
                window=window if kind == WINDOW_TYPE else None,
                rotary=kind == WINDOW_TYPE or not windowed,
            )
            for kind in kinds
        ),
        rope_theta=_rope_theta(raw),
        norm_eps=_number(raw, "layer_norm_eps", 1e-5),
        logit_scale=_number(raw, "logit_scale", 0.0625),
        head_norms=raw.get("use_qk_norm") is not None and _flag(raw, "use_qk_norm", default=False),
        tied=_flag(raw, "tie_word_embeddings", default=True),
        max_context=_positive(raw, "max_position_embeddings"),
    )


def _refuse_other_computations(raw: Mapping[str, Any]) -> None:
    own = _REQUIRED_BY_ARCHITECTURE.get(str(raw.get("model_type")))
    if own is None:
        known = " and ".join(map(repr, _REQUIRED_BY_ARCHITECTURE))
        raise ConfigError(
            f"model_type is {raw.get('model_type')!r}; this exporter reads {known} "
            "(Tiny Aya, Command R7B; Aya Expanse, Command R)"
        )
    for key, allowed in {**_REQUIRED_VALUES, **own}.items():
        if key in raw and raw[key] not in allowed:
            raise ConfigError(
                f"config.json says {key} = {raw[key]!r}, which is another computation; "
                f"supported: {allowed[0]!r}"
            )


def _positive(raw: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = raw.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"config.json says {key} = {value!r}; expected a positive whole number")
    return value


def _number(raw: Mapping[str, Any], key: str, default: float | None) -> float:
    value = raw.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= sys.float_info.max:
        raise ConfigError(f"config.json says {key} = {value!r}; expected a positive number")
    return float(value)


def _flag(raw: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"config.json says {key} = {value!r}; expected true or false")
    return value


def _layer_count(raw: Mapping[str, Any]) -> int:
    count = _positive(raw, "num_hidden_layers")
    if count > _MAX_LAYERS:
        raise ConfigError(
            f"config.json says num_hidden_layers = {count}; expected at most {_MAX_LAYERS}"
        )
    return count


def _layer_kinds(raw: Mapping[str, Any]) -> list[str]:
    """The type of each layer, from `layer_types` or `sliding_window_pattern`."""
    count = _layer_count(raw)
    kinds = raw.get("layer_types")
    if kinds is None:
        period = _positive(raw, "sliding_window_pattern", _positive(raw, "layer_switch", 4))
        return [WINDOW_TYPE if (index + 1) % period else GLOBAL_TYPE for index in range(count)]
    if not isinstance(kinds, list):
        raise ConfigError(f"config.json says layer_types = {kinds!r}; expected a list")
    if len(kinds) != count:
        raise ConfigError(f"layer_types names {len(kinds)} layers, num_hidden_layers is {count}")
    if strange := {repr(kind) for kind in kinds if kind not in (WINDOW_TYPE, GLOBAL_TYPE)}:
        raise ConfigError(
            f"layer_types holds {', '.join(sorted(strange))}; "
            f"known: {WINDOW_TYPE!r}, {GLOBAL_TYPE!r}"
        )
    return kinds


def _rope_theta(raw: Mapping[str, Any]) -> float:
    """RoPE's base, from `rope_parameters` or `rope_theta`; anything else there is refused."""
    parameters = raw.get("rope_parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise ConfigError(f"config.json says rope_parameters = {parameters!r}; expected an object")
    for key, value in parameters.items():
        if key != "rope_theta" and (key not in ("rope_type", "type") or value != "default"):
            raise ConfigError(
                f"rope_parameters says {key} = {value!r}, which is another computation; "
                "supported: rope_type = 'default' and rope_theta"
            )
    return _number({**raw, **parameters}, "rope_theta", _DEFAULT_ROPE_THETAS.get(raw["model_type"]))
