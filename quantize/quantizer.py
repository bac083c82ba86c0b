"""Quantizes a model tensor by tensor: each is read, rounded by its role's precision, dropped."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from tinyaya.quantize.cache_scales import CacheScales
from tinyaya.quantize.groupwise import QuantizedWeight, dequantize, quantize
from tinyaya.quantize.recipe import Recipe
from tinyaya.quantize.report import RoleReport
from tinyaya.quantize.roles import PROJECTIONS, LayerKind, Role, place_of

Weight = Tensor | QuantizedWeight
_BLOCK_ROWS = 4096
Config = TypeVar("Config", covariant=True)


class SourceModel(Protocol[Config]):
    """What the quantizer needs of a model: its config, and its tensors one at a time."""

    @property
    def config(self) -> Config:
        """The architecture; passed on untouched."""

    @property
    def kinds(self) -> Sequence[LayerKind]:
        """Of all layers."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all tensors."""

    def read(self, name: str) -> Tensor:
        """One tensor, in float32."""


@dataclass(frozen=True, kw_only=True)
class QuantizedModel(Generic[Config]):
    """Weights by their names in the checkpoint; the one input of every backend.

    cache_scales: one a layer where it keeps keys and values in 8 bits, None where in float32.
    """

    config: Config
    recipe: Recipe
    weights: Mapping[str, Weight]
    report: Mapping[Role, RoleReport]
    cache_scales: Sequence[CacheScales | None]


def quantize_model(
    model: SourceModel[Config],
    recipe: Recipe,
    advance: Callable[[], None] = lambda: None,
    fitted: Mapping[str, Weight] | None = None,
) -> QuantizedModel[Config]:
    """Quantize every tensor of `model` by `recipe`; `advance` is called once a tensor.

    fitted: weights that calibration has made already, by name; what it left out is rounded.
    """
    fitted, tally = fitted or {}, _Tally()
    weights: dict[str, Weight] = {}
    for name in model.names:
        place = place_of(name, model.kinds)
        source, precision = model.read(name), recipe.precision(place)
        weights[name] = weight = (
            fitted[name]
            if name in fitted
            else (source if precision is None else quantize(source, precision))
        )
        tally.add(place.role, source, weight)
        if recipe.calibrated and place.role in PROJECTIONS and precision and name not in fitted:
            tally.not_fitted[place.role].append(name)
        advance()
    return QuantizedModel(
        config=model.config,
        recipe=recipe,
        weights=weights,
        report=tally.report(),
        cache_scales=[None] * len(model.kinds),
    )


class _Tally:
    """Sums by role while the weights pass by."""

    def __init__(self) -> None:
        self.not_fitted: dict[Role, list[str]] = defaultdict(list)
        self._sums: dict[Role, list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0])

    def add(self, role: Role, source: Tensor, weight: Weight) -> None:
        figures = (source.numel(), stored_bytes(weight), *_error(source, weight))
        for index, figure in enumerate(figures):
            self._sums[role][index] += figure

    def report(self) -> dict[Role, RoleReport]:
        return {
            role: RoleReport(
                parameters=int(parameters),
                stored_bytes=int(size),
                relative_error=(wrong / total) ** 0.5 if wrong else 0.0,
                not_fitted=tuple(self.not_fitted[role]),
            )
            for role, (parameters, size, wrong, total) in self._sums.items()
        }


def stored_bytes(weight: Weight) -> int:
    """Bytes of a weight on disk: codes and 16-bit scales, or float32 values."""
    if isinstance(weight, Tensor):
        return weight.numel() * 4
    return weight.codes_OI.numel() * weight.bits // 8 + weight.scales_OG.numel() * 2


def _error(source: Tensor, weight: Weight) -> tuple[float, float]:
    """Squared norm of the change, and of the source; in blocks of rows, to bound its memory."""
    wrong = total = 0.0
    for start in range(0, len(source), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        total += source[rows].square().sum().item()
        if isinstance(weight, QuantizedWeight):
            codes_OI, scales_OG = weight.codes_OI[rows], weight.scales_OG[rows]
            block = QuantizedWeight(codes_OI=codes_OI, scales_OG=scales_OG, bits=weight.bits)
            wrong += (source[rows] - dequantize(block)).square().sum().item()
    return wrong, total
