"""Draws the losses of single weights: layers by roles, global layers marked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from tinyaya.export.quality.loss import Loss
from tinyaya.export.quality.sensitivity import SHOWN_OPTION
from tinyaya.quantize.roles import PROJECTIONS, LayerKind

_CELL_INCHES = 0.32


def draw_heatmap(losses: Sequence[Loss], path: Path, option: str = SHOWN_OPTION) -> None:
    """Write a PNG: the KL of each weight at `option`, on a logarithmic scale."""
    rows = [row for row in losses if row.option == option]
    layers = sorted({row.layer for row in rows})
    kl = np.full((len(PROJECTIONS), len(layers)), np.nan)
    for row in rows:
        kl[PROJECTIONS.index(row.role), layers.index(row.layer)] = max(row.kl, 1e-12)
    kinds = {row.layer: row.kind for row in rows}
    figure = Figure(figsize=(2.6 + _CELL_INCHES * len(layers), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(kl * 1000, norm=LogNorm(), cmap="viridis", aspect="auto")
    axes.set_yticks(range(len(PROJECTIONS)), [str(role) for role in PROJECTIONS])
    labels = [f"{n}\nG" if kinds[n] is LayerKind.GLOBAL else str(n) for n in layers]
    axes.set_xticks(range(len(layers)), labels, fontsize=8)
    axes.set_xlabel("layer (G: global)")
    axes.set_title(f"KL of one weight alone at {option}, mnat", fontsize=10)
    figure.colorbar(image, ax=axes)
    figure.savefig(path, dpi=150)
