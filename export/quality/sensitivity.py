"""Measures the KL that quantizing each weight alone causes.

Each projection of each layer is quantized at each precision, all else left in float32, and the
model judged on texts; layers before it are computed once. Codes are fitted to the model's own
activations, as calibration fits them.
Shape suffixes: L languages, T tokens, D width, V vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyaya.export.calibration.fit import (
    DOWN_PROJECTION,
    INPUT_PROJECTIONS,
    OUTPUT_PROJECTION,
    LayerMath,
    summed,
)
from tinyaya.export.calibration.quantized_model import calibration_sequences
from tinyaya.export.decoder.reference import embedded, head_logits, hidden_through
from tinyaya.export.languages.texts import calibration_texts
from tinyaya.export.options import CalibrationOptions
from tinyaya.export.proof.parity import float_model
from tinyaya.export.quality.kept_losses import KeptLosses
from tinyaya.export.quality.loss import Loss
from tinyaya.export.quality.recall import reference_recall
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.quantize.gptq import quantize_calibrated
from tinyaya.quantize.groupwise import dequantize
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.quantizer import Weight, stored_bytes
from tinyaya.quantize.roles import PROJECTIONS, LayerKind, place_of
from tinyaya.runtime.progress import Advance, Progress

# All that named recipes have, so that budgets have them.
PRECISION_OPTIONS: Mapping[str, Precision] = {
    "4 bits, groups of 256": Precision(bits=4, group_size=256),
    "4 bits, groups of 128": Precision(bits=4, group_size=128),
    "4 bits, groups of 64": Precision(bits=4, group_size=64),
    "4 bits, groups of 32": Precision(bits=4, group_size=32),
    "8 bits": Precision(bits=8),
}
SHOWN_OPTION = "4 bits, groups of 64"


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """All losses, and what they say of window and global layers.

    global_to_window: see the function. recall_past_window: the model's share of facts recalled
    that are older than the window; losses_past_window: what each weight costs of it, None where
    the model recalls too few to lose any.
    """

    losses: tuple[Loss, ...]
    languages: int
    tokens: int
    global_to_window: float | None
    recall_past_window: float | None
    losses_past_window: None = None


def measure_sensitivity(
    source: Path | str,
    texts: Path | None,
    tokens: int,
    calibration: CalibrationOptions,
    progress: Progress,
) -> Sensitivity:
    """Losses of the checkpoint `source` on the ends of `texts`; raises ExportError.

    texts: a folder of <language>.txt; None takes what is shipped for calibration, of which the
    codes are fitted to the beginnings, so that what is chosen by losses can be evaluated on the
    texts for that.
    """
    checkpoint = open_checkpoint(source, progress)
    encode, bos = checkpoint.tokenizer.encoder(), checkpoint.tokenizer.bos
    ids = [encode(text) for text in calibration_texts(texts).values()]
    count = min(tokens, checkpoint.config.max_context, *(len(row) + 1 for row in ids))
    ids_LT = torch.tensor([[bos, *row[len(row) + 1 - count :]] for row in ids])
    sequences = calibration_sequences(checkpoint, calibration)
    measured = {
        "judged": ids_LT.tolist(),
        "fitted": list(sequences),
        "options": [*PRECISION_OPTIONS],
    }
    kept = KeptLosses(checkpoint, measured, progress.note)
    losses = tuple(measure_losses(checkpoint, ids_LT, sequences, kept, progress))
    return Sensitivity(
        losses=losses,
        languages=len(ids),
        tokens=count,
        global_to_window=global_to_window(losses),
        recall_past_window=reference_recall(checkpoint, [token for row in ids for token in row]),
    )


@torch.no_grad()
def measure_losses(
    checkpoint: Checkpoint,
    ids_LT: Tensor,
    sequences: Sequence[Sequence[int]],
    kept: KeptLosses,
    progress: Progress,
) -> Iterator[Loss]:
    """Losses of all projections, layer by layer; those that are kept are not measured again.

    ids_LT: texts to judge by. sequences: of calibration.
    """
    known = kept.read()
    left = [index for index in range(len(checkpoint.config.layers)) if index not in known]
    advance = progress.stage("one weight at a time", len(left) * len(PROJECTIONS))
    if left:
        judge = _Judge(checkpoint, ids_LT)
        for index, (math, grams) in enumerate(_layers(checkpoint, sequences)):
            if index in left:
                known[index] = tuple(_layer_losses(checkpoint, judge, math, grams(), advance))
                kept.add(known[index])
    for index in sorted(known):
        yield from known[index]


def _layer_losses(
    checkpoint: Checkpoint,
    judge: "_Judge",
    math: LayerMath,
    grams: Mapping[str, Tensor],
    advance: Advance,
) -> Iterator[Loss]:
    for name, full in math.names.items():
        place = place_of(full, checkpoint.kinds)
        assert place.layer is not None and place.kind is not None
        for option, precision in options_for(math.exact[name].shape[1]).items():
            quantized = quantize_calibrated(math.exact[name], grams[name], precision)
            yield Loss(
                layer=place.layer,
                kind=place.kind,
                role=place.role,
                option=option,
                size_bytes=stored_bytes(quantized),
                kl=judge.kl(place.layer, full, dequantize(quantized)),
            )
        advance()


def options_for(inputs: int) -> dict[str, Precision]:
    """Those that rows of so many weights can have."""
    return {
        option: precision
        for option, precision in PRECISION_OPTIONS.items()
        if inputs % (precision.group_size or inputs) == 0
    }


class _Judge:
    """KL of the model with one weight changed, on fixed texts."""

    def __init__(self, checkpoint: Checkpoint, ids_LT: Tensor) -> None:
        self._model = float_model(checkpoint)
        self._count = len(checkpoint.config.layers)
        self._before = [embedded(self._model, ids_LT)]  # hidden states_LTD before each layer
        for index in range(self._count):
            one = range(index, index + 1)
            self._before.append(hidden_through(self._model, self._before[-1], one))
        self._expected_LTV = head_logits(self._model, self._before[-1]).log_softmax(-1)

    def kl(self, layer: int, name: str, weight_OI: Tensor) -> float:
        """Mean over all positions, with the weight `name` of `layer` replaced."""
        changed = replace(self._model, weights=_Overlay(self._model.weights, name, weight_OI))
        hidden_LTD = hidden_through(changed, self._before[layer], range(layer, self._count))
        found_LTV = head_logits(self._model, hidden_LTD).log_softmax(-1)
        expected_LTV = self._expected_LTV
        return (expected_LTV.exp() * (expected_LTV - found_LTV)).sum(-1).mean().item()


class _Overlay(Mapping[str, Weight]):
    """Weights of which one is another."""

    def __init__(self, weights: Mapping[str, Weight], name: str, weight: Weight) -> None:
        self._weights, self._name, self._weight = weights, name, weight

    def __getitem__(self, name: str) -> Weight:
        return self._weight if name == self._name else self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _layers(
    checkpoint: Checkpoint, sequences: Sequence[Sequence[int]]
) -> Iterator[tuple[LayerMath, Callable[[], dict[str, Tensor]]]]:
    """Each layer, and what makes the products of what each of its projections multiplies."""
    hidden = [embedded(float_model(checkpoint), torch.tensor([ids]))[0] for ids in sequences]
    for index in range(len(checkpoint.config.layers)):
        math = LayerMath(checkpoint, index)
        inner = [math.inner(x_TD, math.exact) for x_TD in hidden]
        yield math, partial(_grams, math, hidden, inner)
        outer_OI = math.outer(math.exact)
        hidden = [x + F.linear(y, outer_OI) for x, y in zip(hidden, inner, strict=True)]


def _grams(math: LayerMath, hidden: Sequence[Tensor], inner: Sequence[Tensor]) -> dict[str, Tensor]:
    gram_DD = summed((x_TD, x_TD) for x_TD in map(math.norm, hidden))
    inner_II = summed((x_TI, x_TI) for x_TI in inner)
    first, second = math.parts
    return {
        **dict.fromkeys(INPUT_PROJECTIONS, gram_DD),
        OUTPUT_PROJECTION: inner_II[first, first],
        DOWN_PROJECTION: inner_II[second, second],
    }


def global_to_window(losses: Sequence[Loss], option: str = SHOWN_OPTION) -> float | None:
    """How much more a global layer loses than the window layers beside it, as a mean ratio.

    None where no global layer lies beside a window layer.
    """
    by_layer: dict[int, float] = {}
    kinds = {row.layer: row.kind for row in losses}
    for row in losses:
        if row.option == option:
            by_layer[row.layer] = by_layer.get(row.layer, 0.0) + row.kl
    ratios = []
    for layer, kind in kinds.items():
        beside = [by_layer[n] for n in (layer - 1, layer + 1) if kinds.get(n) is LayerKind.WINDOW]
        if kind is LayerKind.GLOBAL and beside:
            ratios.append(by_layer[layer] / fmean(beside))
    return fmean(ratios) if ratios else None
