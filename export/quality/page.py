"""Draws a report as one HTML page, its plots as SVG inside it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyaya.export.languages.table import LANGUAGES
from tinyaya.export.pages.render import render
from tinyaya.export.quality.figures import Quality
from tinyaya.runtime.errors import OptionError

_RESOURCE_COLOURS = {"1": "#1b6ca8", "2": "#3a9ad9", "3": "#5bb98c", "4": "#e0a030", "5": "#cc4b37"}
_GREY = "#888888"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One file of a model: its weights' bytes and its mean KL; ours: made by this exporter."""

    name: str
    weights_bytes: int
    mean_kl: float
    ours: bool


def read_points(path: Path) -> list[Point]:
    """The points that `tinyaya.benchmarks.quality` wrote; raises OptionError."""
    try:
        return [Point(**row) for row in json.loads(path.read_text(encoding="utf-8"))["points"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise OptionError(
            f"{path}: cannot read points: {error!r}; expected what "
            "tinyaya.benchmarks.quality writes"
        ) from error


def render_page(title: str, quality: Quality, points: Sequence[Point] = ()) -> str:
    """The page; points: of all files to compare, drawn where there are any."""
    rows = sorted(quality.languages.items(), key=lambda item: -item[1].mean_kl)
    plots = [_svg((12, 3.6), lambda axes: _draw_languages(axes, rows))]
    if points:
        plots.append(_svg((8, 4.2), lambda axes: draw_points(axes, points)))
    return render(
        "tinyaya.export.quality",
        title=title,
        quality=quality,
        rows=[(code, LANGUAGES.get(code), row) for code, row in rows],
        groups=[(name, quality.as_json()[name]) for name in ("regions", "resources")],
        plots=plots,
    )


def points_plot(points: Sequence[Point], axis: str) -> str:
    """The plot of `draw_points` as SVG; axis: what bytes are of."""

    def draw(axes: Axes) -> None:
        draw_points(axes, points)
        axes.set_xlabel(axis)

    return _svg((8, 4.2), draw)


def _svg(size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.add_subplot())
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _draw_languages(axes: Axes, rows: Sequence[tuple[str, Any]]) -> None:
    colours = [
        _RESOURCE_COLOURS.get(LANGUAGES[code].resources[0], _GREY) if code in LANGUAGES else _GREY
        for code, _ in rows
    ]
    axes.bar(range(len(rows)), [row.mean_kl for _, row in rows], color=colours)
    axes.set_xticks(range(len(rows)), [code for code, _ in rows], rotation=90, fontsize=7)
    axes.margins(x=0.01)
    axes.set_ylabel("mean KL, nats")
    handles = [axes.bar(0, 0, color=colour) for colour in _RESOURCE_COLOURS.values()]
    axes.legend(handles, ["most on the web", "", "", "", "least"], fontsize=7, ncols=5)


def draw_points(axes: Axes, points: Sequence[Point]) -> None:
    """KL against bytes; a line joins the files of the peer."""
    axes.set_prop_cycle(color=[colormaps["tab20"](index) for index in range(20)])
    theirs = sorted((p for p in points if not p.ours), key=lambda p: p.weights_bytes)
    x, y = [p.weights_bytes / 1e6 for p in theirs], [p.mean_kl for p in theirs]
    axes.plot(x, y, "o--", color=_GREY)
    for point, left, top in zip(theirs, x, y, strict=True):
        axes.annotate(
            point.name, (left, top), xytext=(5, 4), textcoords="offset points", fontsize=8
        )
    for point in sorted((p for p in points if p.ours), key=lambda p: p.weights_bytes):
        axes.plot(point.weights_bytes / 1e6, point.mean_kl, "D", markersize=5, label=point.name)
    if len(theirs) < len(points):
        axes.legend(fontsize=7, ncols=2)
    axes.set_yscale("log")
    axes.set_xlabel("weights, MB")
    axes.set_ylabel("mean KL to the unquantized model, nats")
    axes.grid(visible=True, alpha=0.3)
