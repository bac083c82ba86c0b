"""The comparison of machines in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.bench.made_results import write_all
from tinyaya.benchmarks.speed.any_file import read_results
from tinyaya.benchmarks.speed.page import render_comparison, write_comparison

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SLOW_MS = 240_000


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed; apt-get install chromium")
    found = [read_results(path) for path in write_all(tmp_path)]
    write_comparison(tmp_path / "page.html", found)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=SLOW_MS
        )
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("request", lambda one: errors.append(one.url) if one.url[:5] != "file:" else None)
        page.goto((tmp_path / "page.html").as_uri(), timeout=SLOW_MS)
        yield page
        browser.close()
        assert errors == []


def test_it_compares_machines(page: Page) -> None:
    expect(page.locator(".card")).to_have_count(4)
    writing = page.locator(".panel").first
    names = writing.locator(".bar .who").all_inner_texts()[:4]
    order = [name.split(" onnx")[0].split(" llama.cpp")[0].strip() for name in names]
    assert order == [
        "Made-up Board C",
        "Made-up Board A",
        "llama's <b>board</b>",
        "Made-up Board B",
    ]
    widths = [one.bounding_box() for one in writing.locator(".bar .fill").all()[:4]]
    ratio = widths[1]["width"] / widths[0]["width"]  # type: ignore[index]
    assert ratio == pytest.approx(4.4 / 13, rel=0.02)
    assert page.locator(".bar.hot").count() == 3
    assert page.locator("main b > b").count() == 0  # text of a file is never markup
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0

    table = page.locator("table.sortable").first
    table.get_by_role("button", name="tokens/s").click()
    first = table.locator("tbody tr").first
    expect(first).to_contain_text("Made-up Board C")
    table.get_by_role("button", name="tokens/s").click()
    expect(table.locator("tbody tr").first).to_contain_text("Made-up Board B")

    languages = page.locator("#languages tbody tr:visible")
    expect(languages).to_have_count(5)
    page.get_by_label("find a language").fill("burm")
    expect(languages).to_have_count(1)
    expect(languages.first).to_contain_text("4.84")
    expect(page.locator("svg")).to_have_count(3)
    assert page.locator("svg polyline").count() == 2 + 2 + 3


def test_the_page_stands_alone(tmp_path: Path) -> None:
    text = render_comparison([read_results(path) for path in write_all(tmp_path)])
    for outside in ("http:", "https:", "src=", "@import", "url("):
        assert outside not in text
    assert "<b>board</b>" not in text
