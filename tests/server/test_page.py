"""The chat page in a real browser."""

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

pytestmark = pytest.mark.serial

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.goto(address)
        yield page
        browser.close()
        assert errors == []


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=60_000)


def test_it_answers_and_goes_on(page: Page, model: str) -> None:
    expect(page.get_by_text(model)).to_be_visible()
    say(page, "Habari ya asubuhi?")
    say(page, "Asante.")
    expect(page.locator("#talk > .user")).to_have_count(2)
    expect(page.locator("#talk > .assistant")).to_have_count(2)
    expect(page.locator("#talk > .assistant").last).to_have_text(re.compile(r"\S"))
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#talk > div")).to_have_count(0)


def lengthen(route: Route) -> None:
    """Ask for an answer that goes on until it is stopped."""
    body = {**route.request.post_data_json, "regex": "[a-z ]{4000}", "max_tokens": 800}
    route.continue_(post_data=json.dumps(body))


def test_stop_ends_the_answer(page: Page) -> None:
    page.route("**/v1/chat/completions", lengthen)
    page.get_by_label("Message").fill("Tell me a long story.")
    page.keyboard.press("Enter")
    expect(page.locator("#talk > .assistant")).to_have_text(re.compile(r"\S"))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    text = page.locator("#talk > .assistant").inner_text()
    page.wait_for_timeout(300)
    assert page.locator("#talk > .assistant").inner_text() == text


def test_text_is_never_markup(page: Page) -> None:
    say(page, "<img src=x onerror=document.title='owned'><b>hi</b>")
    expect(page.locator("#talk > .user")).to_contain_text("<b>hi</b>")
    assert page.locator("#talk img, #talk b").count() == 0
    assert page.title() == "tinyaya"


def test_right_to_left_text_is_laid_out_so(page: Page) -> None:
    say(page, "صباح الخير")
    box = page.locator("#talk > .user")
    assert box.evaluate("box => getComputedStyle(box).direction") == "rtl"


def test_refusals_are_shown(page: Page) -> None:
    refused = "errors_of_fetch"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=200, content_type="text/event-stream",
        body=f'data: {{"error": {{"message": "{refused}"}}}}\n\n',
    ))  # fmt: skip
    say(page, "hi")
    expect(page.locator("#talk > .error")).to_have_text(refused)
