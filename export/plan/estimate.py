"""Estimates the bytes that an export takes on disk, on the device and here."""

from dataclasses import dataclass
from itertools import accumulate
from math import prod

from tinyaya.export.backends.base import Backend
from tinyaya.export.bundle.resolve import ResolvedExport
from tinyaya.export.decoder.cache import cache_slots
from tinyaya.export.decoder.config import AttentionConfig, DecoderConfig
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.decoder.reference import BLOCK_VALUES
from tinyaya.export.options import Limits
from tinyaya.export.plan.needs import Needs
from tinyaya.export.proof.probe import SINGLE_STEPS, probe_length
from tinyaya.quantize.groupwise import CHUNK_VALUES
from tinyaya.quantize.recipe import Recipe
from tinyaya.quantize.roles import LayerKind, place_of
from tinyaya.runtime.facts import KvLayer

_FLOAT_BYTES = 4
_SEARCH_COPIES = 5  # of a chunk of values, while its scales are searched
_STREAM_COPIES = 6  # of a token's hidden state, while a layer is fitted
_PRODUCT_COPIES = 6  # of products of inputs with inputs: their sum, factors, inverses
_LOGIT_COPIES = 6  # model, quantized model and program, each twice while they are compared


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimates in bytes; weights and cache are exact, peaks rest on measured shares.

    device_peak_bytes: of a .pte without torch, as on devices. export_peak_bytes: the largest of the
    stages after it; calibrate: 0 where nothing is; lower: trace, lower and write; verify: 0 without
    verification.
    """

    bundle_bytes: int
    weights_bytes: int
    kv_cache_bytes: int
    device_peak_bytes: int
    export_peak_bytes: int
    export_disk_bytes: int
    calibrate_peak_bytes: int
    quantize_peak_bytes: int
    lower_peak_bytes: int
    verify_peak_bytes: int


def plan_export(export: ResolvedExport, backend: Backend) -> Plan:
    """Estimates for one backend; reads only the checkpoint's headers."""
    checkpoint, recipe, limits = export.checkpoint, export.recipe, export.limits
    config, footprint = checkpoint.config, backend.footprint
    weights = weights_bytes(config, recipe, backend)
    cache = kv_cache_bytes(config, limits, recipe)
    rope = 2 * limits.context * config.layers[0].head_dim // 2 * _FLOAT_BYTES
    tokenizer = (checkpoint.folder / "tokenizer.json").stat().st_size
    first = len(export.preamble) * sum(_position_bytes(layer, recipe) for layer in config.layers)
    bundle = weights + rope + tokenizer + first + footprint.graph_bytes * len(config.layers)
    step = _step_bytes(config, limits.chunk)
    session = int(footprint.resident_share * weights) + cache + step + _logits_bytes(config)
    codes, tokens = sum(_model_bytes(config, recipe)), export.calibration.tokens
    stages = {
        "calibrate": footprint.export_bytes + codes + _calibrate_bytes(config, tokens)
        if recipe.calibrated
        else 0,
        "quantize": footprint.export_bytes + _quantize_bytes(config, recipe),
        "lower": footprint.export_bytes + codes + int(footprint.export_share * weights),
        "verify": footprint.export_bytes + _verify_bytes(config, limits, codes, session)
        if export.verify
        else 0,
    }
    return Plan(
        bundle_bytes=bundle,
        weights_bytes=weights,
        kv_cache_bytes=cache,
        device_peak_bytes=footprint.engine_bytes + session,
        export_peak_bytes=max(stages.values()),
        export_disk_bytes=bundle,
        calibrate_peak_bytes=stages["calibrate"],
        quantize_peak_bytes=stages["quantize"],
        lower_peak_bytes=stages["lower"],
        verify_peak_bytes=stages["verify"],
    )


def device_needs(plan: Plan, export: ResolvedExport) -> Needs:
    """What the planned bundle will need on a device: its memory, and what a step reads."""
    limits = export.limits
    return Needs(
        memory_bytes=plan.device_peak_bytes,
        weights_read_bytes=plan.weights_bytes,
        context=limits.context,
        layers=tuple(
            KvLayer(
                window=layer.window if cache_slots(layer, limits) < limits.context else None,
                position_bytes=_position_bytes(layer, export.recipe),
            )
            for layer in export.checkpoint.config.layers
        ),
    )


def _model_bytes(config: DecoderConfig, recipe: Recipe) -> list[int]:
    """Bytes of each weight of the quantized model: a byte a code, or float32."""
    return [
        prod(shape) * (1 if recipe.precision(place_of(name, config.kinds)) else _FLOAT_BYTES)
        for name, shape in tensor_shapes(config).items()
    ]


def _quantize_bytes(config: DecoderConfig, recipe: Recipe) -> int:
    """The model up to a tensor, that tensor in float32, and the search for its scales."""
    made = accumulate(_model_bytes(config, recipe))
    sizes = (prod(shape) * _FLOAT_BYTES for shape in tensor_shapes(config).values())
    search = _SEARCH_COPIES * CHUNK_VALUES * _FLOAT_BYTES
    return search + max(size + before for size, before in zip(sizes, made, strict=True))


def _calibrate_bytes(config: DecoderConfig, tokens: int) -> int:
    """Hidden states, what output and down multiply, products of that, and a layer in float32."""
    attention = config.layers[0]
    inner = attention.heads * attention.head_dim + config.ffn_width
    values = tokens * (_STREAM_COPIES * config.width + inner) + _PRODUCT_COPIES * inner**2
    return _FLOAT_BYTES * (values + 2 * _layer_values(config))


def _layer_values(config: DecoderConfig) -> int:
    return sum(prod(shape) for name, shape in tensor_shapes(config).items() if ".0." in name)


def _verify_bytes(config: DecoderConfig, limits: Limits, codes: int, session: int) -> int:
    """The largest of the unquantized reference, the quantized one, and the program's session.

    The first reads a layer in float32, the second holds the model, the last holds it too; logits
    of each lie beside them.
    """
    longest = max(prod(shape) for name, shape in tensor_shapes(config).items() if ".0." in name)
    tokens = probe_length(limits, config.window)
    scores = 2 * config.layers[0].heads * tokens**2 * _FLOAT_BYTES
    block = 3 * min(BLOCK_VALUES, longest) * _FLOAT_BYTES
    reference = block + scores + 2 * _step_bytes(config, tokens)
    logits = _LOGIT_COPIES * (SINGLE_STEPS + 1) * _logits_bytes(config)
    return logits + max(
        _layer_values(config) * _FLOAT_BYTES + reference, codes + reference, codes + session
    )


def _step_bytes(config: DecoderConfig, tokens: int) -> int:
    return tokens * (8 * config.width + 3 * config.ffn_width) * _FLOAT_BYTES


def _logits_bytes(config: DecoderConfig) -> int:
    return config.vocab_size * _FLOAT_BYTES


def weights_bytes(config: DecoderConfig, recipe: Recipe, backend: Backend) -> int:
    """Bytes of all weights as this backend stores them."""
    return sum(
        backend.stored_bytes(shape, recipe.precision(place_of(name, config.kinds)))
        for name, shape in tensor_shapes(config).items()
    )


def kv_cache_bytes(config: DecoderConfig, limits: Limits, recipe: Recipe) -> int:
    """Bytes of all key and value caches."""
    return sum(
        cache_slots(layer, limits) * _position_bytes(layer, recipe) for layer in config.layers
    )


def _position_bytes(layer: AttentionConfig, recipe: Recipe) -> int:
    """Bytes of the keys and values of one position in one layer."""
    kind = recipe.kv[LayerKind.GLOBAL if layer.window is None else LayerKind.WINDOW]
    return 2 * layer.kv_heads * layer.head_dim * (1 if kind == "int8" else _FLOAT_BYTES)
