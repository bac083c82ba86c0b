"""What README and the pages of docs/ show can be typed, linked to, and is what the code says."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from tests.docs.api_page import page as api_page
from tests.docs.pages import (
    LINKED,
    PAGES,
    ROOT,
    Shown,
    anchors_of,
    links_of,
    named_on,
    read_page,
    shown_on,
)
from tests.docs.typist import LEFT_OUT, Typist, reason_left_out
from tinyaya.export.cli import app as cli
from tinyaya.export.sweep.sweep_file import read_sweep
from tinyaya.quantize.recipe import find_recipe, write_recipe

SHOWN = [shown for page in PAGES for shown in shown_on(page)]
MAKES_AYA = next(shown for shown in SHOWN if " --out aya " in shown.text)


@pytest.fixture(scope="module")
def typist(place: Path) -> Typist:
    return Typist(place)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown_runs(
    page: str,
    typist: Typist,
    there: Path,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the order of the page, after the README's own bundle of Tiny Aya."""
    if "--engine native" in read_page(page):
        native = str(request.getfixturevalue("native"))
        monkeypatch.setenv("PYTHONPATH", native)
    for shown in (MAKES_AYA, *shown_on(page)):
        if reason_left_out(shown) is None:
            typist.run(shown, capfd)
    expected = {
        "docs/recipes.md": "quality.html losses.png mine.json",
        "docs/run.md": "read.session",
    }
    assert all((there / name).is_file() for name in expected.get(page, "").split())


def test_the_sweep_that_is_shown_is_one(there: Path) -> None:
    shown = re.findall(r"^```toml\n(.*?)^```", read_page("docs/sweep.md"), re.DOTALL | re.MULTILINE)
    write_recipe(there / "mine.json", find_recipe("int4"))
    (there / "sweep.toml").write_text("".join(shown), encoding="utf-8")
    assert len(read_sweep(there / "sweep.toml").tasks) == 2 * 3 * 2 * 2


@pytest.mark.parametrize("shown", [s for s in SHOWN if reason_left_out(s)], ids=lambda s: s.text)
def test_what_is_left_out_is_said(shown: Shown) -> None:
    pytest.skip(f"{shown.page}: `{shown.text}` is not run: it {reason_left_out(shown)}")


def test_all_that_is_left_out_is_shown() -> None:
    assert all(any(s.text.startswith(start) for s in SHOWN) for start in LEFT_OUT)


def test_every_command_is_shown() -> None:
    shown = {shlex.split(s.text)[1] for s in SHOWN if s.text.startswith("tinyaya-export ")}
    names = set(get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert names - shown == {"demo"}  # `make demo` calls it


@pytest.mark.parametrize("page", LINKED)
def test_options_of_named_commands_are_known(page: str) -> None:
    """Of those that are only named, too, and those on pages whose commands nobody runs."""
    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    for text in named_on(page):
        name, *words = shlex.split(text, comments=True)
        commands[name].make_context(name, words)


def test_the_readme_fits_a_screen() -> None:
    assert len(read_page("README.md").splitlines()) <= 60


def test_the_page_of_the_api_is_that_of_the_code() -> None:
    assert read_page("docs/api.md") == api_page(), "python -m tests.docs.api_page > docs/api.md"


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page: str) -> None:
    for link in links_of(page):
        target, _, anchor = link.partition("#")
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors_of(str(path.relative_to(ROOT))), link


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(links_of("README.md"))
    assert {page for page in LINKED if page.startswith("docs/")} <= linked


def _texts_of_code() -> Iterator[str]:
    """Every text in the code, where f-strings have what they are filled with as ...."""
    for package in ("export", "runtime", "quantize"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                if isinstance(node, ast.JoinedStr):
                    parts = node.values
                    yield "".join(p.value if isinstance(p, ast.Constant) else "..." for p in parts)


def test_what_is_said_is_what_the_code_says() -> None:
    said = re.findall(r"^\| `(.+?)` \|", read_page("docs/troubleshooting.md"), re.MULTILINE)
    assert len(said) > 15
    texts = list(_texts_of_code())
    for words in said:
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in words.split("...")))
        assert any(pattern.search(text) for text in texts), words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("    ls\n", ["ls"]),
        ("```sh\na \\\n  b\nc\n```\n", ["a b", "c"]),
        ("- a list\n\n    x --y  # why\n", ["x --y  # why"]),
    ],
)
def test_commands_are_found(text: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.pages.read_page", lambda page: text)
    assert shown_on("x") == [Shown("x", line) for line in found]
