"""Draws the results of a sweep as one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyaya.export.languages.table import LANGUAGES
from tinyaya.export.pages.render import render
from tinyaya.export.sweep.task import Task

_MIN_PLOTTED_KL = 1e-7  # unquantized bundles would stretch the axis over ten decades


@dataclass(frozen=True, kw_only=True)
class Row:
    """One task; result: as its file says, empty where there is none; failure: why."""

    task: Task
    result: Mapping[str, Any]
    failure: str | None

    @property
    def recipe(self) -> str:
        """Its name."""
        return Path(self.task.recipe).stem

    @property
    def state(self) -> str:
        """In a word or two."""
        if not self.result:
            return "failed" if self.failure else "not done"
        return "verified" if self.result["verified"] else "not verified"

    @property
    def mean_kl(self) -> float | None:
        """To the unquantized model, nats, over languages; None where nothing was judged."""
        quality = self.result.get("quality")
        return None if quality is None else float(quality["mean_kl"])

    @property
    def worst(self) -> str:
        """The code of the judged language with the largest KL."""
        languages = self.result["quality"]["languages"]
        return str(max(languages, key=lambda code: languages[code]["mean_kl"]))

    def language_kl(self, code: str) -> float | None:
        """Of one language; None where it was not judged."""
        quality = self.result.get("quality") or {"languages": {}}
        row = quality["languages"].get(code)
        return None if row is None else float(row["mean_kl"])


def render_sweep(title: str, rows: Sequence[Row]) -> str:
    """The page: every task with its size and state, and by language where they were judged."""
    judged = [row for row in rows if row.mean_kl is not None]
    codes = {code for row in judged for code in row.result["quality"]["languages"]}
    by_language = [(code, [row.language_kl(code) for row in judged]) for code in sorted(codes)]
    return render(
        "tinyaya.export.sweep",
        title=title,
        rows=rows,
        judged=judged,
        languages=[(code, LANGUAGES.get(code), kls) for code, kls in by_language],
        largest=max((kl for _, kls in by_language for kl in kls if kl is not None), default=1),
        plot=_plot(judged),
    )


def _plot(judged: Sequence[Row]) -> str | None:
    from tinyaya.export.quality.page import Point, points_plot

    points = [
        Point(
            name=row.task.name,
            weights_bytes=row.result["bytes"],
            mean_kl=row.result["quality"]["mean_kl"],
            ours=True,
        )
        for row in judged
        if (row.mean_kl or 0) > _MIN_PLOTTED_KL
    ]
    return points_plot(points, "bundle, MB") if len(points) > 1 else None
