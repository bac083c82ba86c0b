"""A Hugging Face config of the Cohere2 architecture in, the decoder's sizes out.

A config that means another computation is refused by name, never ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.errors import ConfigError

WINDOW, GLOBAL = "sliding_attention", "full_attention"


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
    """Sizes of the decoder, with the names of the fact that each stands for."""

    vocab_size: int
    width: int
    ffn_width: int
    layers: tuple[AttentionConfig, ...]
    rope_theta: float
    norm_eps: float
    logit_scale: float
    tied: bool
    max_context: int

    @property
    def window(self) -> int | None:
        """The window of the window layers; None where there is none."""
        return next((layer.window for layer in self.layers if layer.window), None)


# Keys that may be present only with the value that this decoder computes.
_REQUIRED_VALUES: Mapping[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "use_qk_norm": (False, None),
    "use_parallel_block": (True,),
    "use_parallel_embedding": (False,),
    "use_gated_activation": (True,),
    "position_embedding_type": ("rope_gptj",),
    "order_of_interleaved_layers": ("local_attn_first",),
    "rotary_pct": (1.0,),
    "rope_scaling": (None,),
    "quantization_config": (None,),
}


def parse_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Sizes from the parsed `config.json`; raises ConfigError with what is not supported."""
    if raw.get("model_type") != "cohere2":
        raise ConfigError(
            f"model_type is {raw.get('model_type')!r}; this exporter reads 'cohere2' "
            "(Tiny Aya, Command R7B)"
        )
    for key, allowed in _REQUIRED_VALUES.items():
        if key in raw and raw[key] not in allowed:
            raise ConfigError(
                f"config.json says {key} = {raw[key]!r}, which is another computation; "
                f"supported: {allowed[0]!r}"
            )
    heads = _positive(raw, "num_attention_heads")
    kv_heads = raw.get("num_key_value_heads") or heads
    width = _positive(raw, "hidden_size")
    head_dim = raw.get("head_dim") or width // heads
    if heads % kv_heads or head_dim * heads != width or head_dim % 2:
        raise ConfigError(
            f"hidden_size {width}, {heads} query heads, {kv_heads} key-value heads and head_dim "
            f"{head_dim} do not fit: head_dim must be even and hidden_size / heads, and key-value "
            "heads must divide the query heads"
        )
    window = raw.get("sliding_window")
    return DecoderConfig(
        vocab_size=_positive(raw, "vocab_size"),
        width=width,
        ffn_width=_positive(raw, "intermediate_size"),
        layers=tuple(
            AttentionConfig(
                heads=heads,
                kv_heads=kv_heads,
                head_dim=head_dim,
                window=window if kind == WINDOW else None,
                rotary=kind == WINDOW,
            )
            for kind in _layer_kinds(raw, window)
        ),
        rope_theta=_rope_theta(raw),
        norm_eps=float(raw.get("layer_norm_eps", 1e-5)),
        logit_scale=float(raw.get("logit_scale", 0.0625)),
        tied=bool(raw.get("tie_word_embeddings", True)),
        max_context=_positive(raw, "max_position_embeddings"),
    )


def _positive(raw: Mapping[str, Any], key: str) -> int:
    value = raw.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"config.json says {key} = {value!r}; expected a positive whole number")
    return value


def _layer_kinds(raw: Mapping[str, Any], window: object) -> list[str]:
    """One of WINDOW and GLOBAL a layer, from `layer_types` or `sliding_window_pattern`."""
    count = _positive(raw, "num_hidden_layers")
    kinds = raw.get("layer_types")
    if kinds is None:
        period = raw.get("sliding_window_pattern") or raw.get("layer_switch") or 4
        kinds = [WINDOW if (index + 1) % period else GLOBAL for index in range(count)]
    if len(kinds) != count:
        raise ConfigError(f"layer_types names {len(kinds)} layers, num_hidden_layers is {count}")
    if strange := sorted(set(kinds) - {WINDOW, GLOBAL}):
        raise ConfigError(
            f"layer_types holds {', '.join(map(repr, strange))}; known: {WINDOW!r}, {GLOBAL!r}"
        )
    if WINDOW in kinds and (not isinstance(window, int) or window < 1):
        raise ConfigError(f"sliding_window is {window!r}, but some layers are {WINDOW!r}")
    return list(kinds)


def _rope_theta(raw: Mapping[str, Any]) -> float:
    """RoPE's base, from `rope_theta` or `rope_parameters`; any scaling is refused."""
    parameters = raw.get("rope_parameters") or {}
    kind = parameters.get("rope_type", "default")
    if kind != "default":
        raise ConfigError(f"rope_parameters says rope_type = {kind!r}; supported: 'default'")
    theta = parameters.get("rope_theta", raw.get("rope_theta", 10000.0))
    if not isinstance(theta, int | float) or theta <= 0:
        raise ConfigError(f"rope_theta is {theta!r}; expected a positive number")
    return float(theta)
