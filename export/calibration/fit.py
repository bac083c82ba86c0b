"""Fits the weights of the layers to calibration text, one layer at a time.

Two streams of hidden states run through the layers: the model's own, and that of the weights
fitted so far, whose inputs a layer will really see. Each projection is fitted to give the first
stream's output from the second stream's input. Output and down projection add into the hidden
states (the block is parallel), so they also make up for what earlier layers lost, and the latter
for what the former misses.
Shape suffixes: T tokens, D width, I inputs, O outputs.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyaya.export.calibration.store import FittedStore, Streams
from tinyaya.export.decoder.attention import SequenceAttention
from tinyaya.export.decoder.block import LayerNorm, head_norm
from tinyaya.export.decoder.model import EMBEDDING
from tinyaya.export.errors import CalibrationError
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.errors import SingularGramError
from tinyaya.quantize.gptq import quantize_calibrated
from tinyaya.quantize.groupwise import QuantizedWeight, dequantize, quantize
from tinyaya.quantize.recipe import Recipe
from tinyaya.quantize.roles import PROJECTIONS, place_of
from tinyaya.runtime.progress import Advance, Progress, Silent

_ATTENTION, _MLP = "self_attn", "mlp"
INPUT_PROJECTIONS = tuple(f"{_ATTENTION}.{x}_proj" for x in "qkv") + tuple(
    f"{_MLP}.{x}_proj" for x in ("gate", "up")
)
OUTPUT_PROJECTION, DOWN_PROJECTION = f"{_ATTENTION}.o_proj", f"{_MLP}.down_proj"
_MADE_UP_SHARE = 0.75  # share of earlier losses; all of it would fit the calibration text too well


class LayerMath:
    """One layer's weights in float32, and what it computes between its two kinds of products."""

    def __init__(self, checkpoint: Checkpoint, index: int) -> None:
        config, prefix = checkpoint.config, f"model.layers.{index}."
        self.names = {
            name: f"{prefix}{name}.weight"
            for name in (*INPUT_PROJECTIONS, OUTPUT_PROJECTION, DOWN_PROJECTION)
        }
        self.exact = {name: checkpoint.read(full) for name, full in self.names.items()}
        norm_D = checkpoint.read(f"{prefix}input_layernorm.weight")
        self.norm = LayerNorm(norm_D, config.norm_eps)

        def read(name: str) -> Tensor:
            return checkpoint.read(f"{name}.weight")

        self.query_norm, self.key_norm = (
            head_norm(read, f"{prefix}{_ATTENTION}.{x}_norm", config) for x in "qk"
        )
        self.attention = SequenceAttention(
            config.layers[index], config.rope_theta, lambda keys, values: (keys, values)
        )

    def inner(self, hidden_TD: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """What output and down multiply, side by side: inner_TI."""
        normed_TD = self.norm(hidden_TD)
        q, k, v, gate, up = (F.linear(normed_TD, weights[name])[None] for name in INPUT_PROJECTIONS)
        y = self.attention(self.query_norm(q), self.key_norm(k), v, None)
        return torch.cat([y, F.silu(gate) * up], -1)[0]

    def outer(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Output and down side by side: outer_OI."""
        return torch.cat([weights[OUTPUT_PROJECTION], weights[DOWN_PROJECTION]], 1)

    @property
    def parts(self) -> tuple[slice, slice]:
        """Where output's and down's inputs are in `inner`."""
        middle = self.exact[OUTPUT_PROJECTION].shape[1]
        return slice(0, middle), slice(middle, None)


def summed(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Products left_TI.T @ right_TJ, summed over sequences: sum_IJ."""
    total = torch.zeros(())
    for left_TI, right_TJ in pairs:
        total = total + left_TI.T @ right_TJ
    return total


class _Fitting:
    """Fits one layer's weights; keeps them by their names in the checkpoint, and in float32."""

    def __init__(
        self, checkpoint: Checkpoint, recipe: Recipe, index: int, advance: Advance
    ) -> None:
        self.math, self._advance = LayerMath(checkpoint, index), advance
        places = {name: place_of(full, checkpoint.kinds) for name, full in self.math.names.items()}
        self._precisions = {name: recipe.precision(place) for name, place in places.items()}
        self.weights: dict[str, QuantizedWeight] = {}
        self.used: dict[str, Tensor] = {}

    def inputs(self, gram_DD: Tensor, missed_DD: Tensor) -> None:
        """missed_DD: what the inputs lack of the exact stream's, times the inputs."""
        for name in INPUT_PROJECTIONS:
            self._fit(name, gram_DD, self.math.exact[name] @ missed_DD)

    def outputs(self, gram_II: Tensor, pull_DI: Tensor) -> None:
        """pull_DI: what exact weights would leave the stream to lack, times the inputs."""
        first, second = self.math.parts
        self._fit(OUTPUT_PROJECTION, gram_II[first, first], pull_DI[:, first])
        missed_DI = self.math.exact[OUTPUT_PROJECTION] - self.used[OUTPUT_PROJECTION]
        left_DI = pull_DI[:, second] + missed_DI @ gram_II[first, second]
        self._fit(DOWN_PROJECTION, gram_II[second, second], left_DI)

    def _fit(self, name: str, gram_II: Tensor, pull_OI: Tensor) -> None:
        exact_OI, precision = self.math.exact[name], self._precisions[name]
        if precision is None:
            self.used[name] = exact_OI
            self._advance()
            return
        try:
            weight = quantize_calibrated(exact_OI, gram_II, precision, pull_OI)
            self.weights[self.math.names[name]] = weight
        except SingularGramError:  # the quantizer rounds what is left out, and reports it
            weight = quantize(exact_OI, precision)
        self.used[name] = dequantize(weight)
        self._advance()


@torch.no_grad()
def fit_layers(
    checkpoint: Checkpoint,
    recipe: Recipe,
    sequences: Sequence[Sequence[int]],
    store: FittedStore | None = None,
    progress: Progress | None = None,
) -> dict[str, QuantizedWeight]:
    """Fitted weights of all layers by name.

    store: keeps every layer, and what it already holds is not done again. Raises CalibrationError
    where hidden states are not finite.
    """
    done = store.done if store else 0
    steps = (len(checkpoint.config.layers) - done) * len(PROJECTIONS)
    advance = (progress or Silent()).stage("calibrate", steps)
    streams = store.streams() if store and done else first_streams(checkpoint, recipe, sequences)
    found: dict[str, QuantizedWeight] = {}
    for index in range(len(checkpoint.config.layers)):
        if store and index < done:
            layer = store.layer(index)
        else:
            layer, streams = fit_layer(checkpoint, recipe, index, streams, advance)
            _check_finite(index, streams)
            if store:
                store.save(index, layer, streams)
        found |= layer
    return found


def first_streams(
    checkpoint: Checkpoint, recipe: Recipe, sequences: Sequence[Sequence[int]]
) -> Streams:
    """Rows of the table, as they are and as the recipe stores them."""
    name = f"{EMBEDDING}.weight"
    precision = recipe.precision(place_of(name, checkpoint.kinds))
    used = sorted({token for ids in sequences for token in ids})
    exact_VD = torch.cat([checkpoint.read(name, range(row, row + 1)) for row in used])
    fitted_VD = dequantize(quantize(exact_VD, precision)) if precision else exact_VD
    rows = {token: row for row, token in enumerate(used)}
    places = [torch.tensor([rows[token] for token in ids]) for ids in sequences]
    return Streams(
        exact=[exact_VD[place] for place in places], fitted=[fitted_VD[place] for place in places]
    )


@torch.no_grad()
def fit_layer(
    checkpoint: Checkpoint,
    recipe: Recipe,
    index: int,
    streams: Streams,
    advance: Advance = lambda steps=1: None,
) -> tuple[dict[str, QuantizedWeight], Streams]:
    """Weights of layer `index`, by their names in the checkpoint, and the streams after it.

    advance: called once a projection.
    """
    fitting = _Fitting(checkpoint, recipe, index, advance)
    math, used = fitting.math, fitting.used
    normed = [(math.norm(x), math.norm(y)) for x, y in streams.pairs]
    fitting.inputs(summed((y, y) for _, y in normed), summed((x - y, y) for x, y in normed))
    del normed
    exact_DI = math.outer(math.exact)
    exact = [x + F.linear(math.inner(x, math.exact), exact_DI) for x in streams.exact]
    fitted = [math.inner(y, used) for y in streams.fitted]
    lacking = [
        after - F.linear(inner, exact_DI) - y - (1 - _MADE_UP_SHARE) * (x - y)
        for after, inner, (x, y) in zip(exact, fitted, streams.pairs, strict=True)
    ]
    fitting.outputs(summed((y, y) for y in fitted), summed(zip(lacking, fitted, strict=True)))
    used_DI = math.outer(used)
    after = [y + F.linear(inner, used_DI) for y, inner in zip(streams.fitted, fitted, strict=True)]
    return fitting.weights, Streams(exact=exact, fitted=after)


def _check_finite(index: int, streams: Streams) -> None:
    if not all(x.isfinite().all() for x in (*streams.exact, *streams.fitted)):
        raise CalibrationError(
            f"after layer {index} hidden states are not finite; the weights, or a text, make "
            "values beyond float32: leave that text out or check the checkpoint"
        )
