"""The page that compares a sweep's bundles."""

from typing import Any

from tests.sweep.tasks import make_task
from tinyaya.export.sweep.page import Row, render_sweep
from tinyaya.export.sweep.task import Task


def _row(name: str, kl: float, *, verified: bool = True) -> Row:
    figures = {"mean_kl": kl, "p99_kl": 4 * kl, "top1_agreement": 0.95}
    languages = {code: {**figures, "mean_kl": kl * by} for code, by in (("sw", 0.5), ("yo", 1.5))}
    result: dict[str, Any] = {
        "bytes": 12_345_678,
        "parity": {"kl_to_fp32": kl},
        "verified": verified,
        "vocabulary": 10240,
        "quality": {**figures, "languages": languages},
        "export_s": 12.3,
    }
    return Row(task=make_task(name), result=result, failure=None)


def test_page_shows_size_quality_languages_and_state() -> None:
    failed = Row(task=make_task("c<script>"), result={}, failure="memory ran out & so on")
    waiting = Row(task=make_task("d"), result={}, failure=None)
    rows = [_row("a", 0.002), _row("b", 0.004, verified=False), failed, waiting]
    page = render_sweep("five variants", rows)
    assert "<title>Sweep five variants</title>" in page
    assert "2 of 4" in page and "12.35" in page and "10,240" in page
    assert "failed: memory ran out &amp; so on" in page and "not done" in page
    assert "not verified" in page and "c<script>" not in page
    assert "Yoruba" in page and "yo 6.00" in page and ">3.00</td>" in page
    assert page.count("<svg") == 1


def test_page_of_nothing_judged_has_no_plot() -> None:
    row = _row("a", 0.002)
    page = render_sweep(
        "x", [Row(task=row.task, result={**row.result, "quality": None}, failure=None)]
    )
    assert "<svg" not in page and "by language" not in page


def test_trimmed_bundles_are_not_compared_on_languages_they_lack() -> None:
    one, other = _row("a", 0.002), _row("b", 0.004)
    del other.result["quality"]["languages"]["yo"]
    page = render_sweep("x", [one, other])
    assert '<td class="heat"></td>' in page


def test_languages_of_a_task_are_shown() -> None:
    task = Task(**{**vars(make_task("a")), "languages": ("sw", "en")})
    assert "sw, en" in render_sweep("x", [Row(task=task, result={}, failure=None)])
