"""README and the pages of docs/ in; the commands, programs and links that they show, out."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNREAD = ("docs/api.md", "docs/decisions.md")  # signatures, and reasons
PAGES = tuple(
    name
    for name in ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
    if name not in UNREAD
)
LINKED = (*PAGES, *UNREAD, "android_demo/README.md", "runtime/FORMAT.md", "benchmarks/RESULTS.md")


@dataclass(frozen=True)
class Shown:
    """A command, or the text of a Python program, as a page shows it."""

    page: str
    text: str
    is_program: bool = False


def read_page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shown_on(page: str) -> list[Shown]:
    """Commands and programs in the order of the page; each line of a shell block is a command."""
    found: list[Shown] = []
    language, fenced = None, []
    for line in read_page(page).splitlines():
        if line.startswith("```"):
            if language is None:
                language, fenced = line.removeprefix("```").strip(), []
                continue
            found += _of_fence(page, language, fenced)
            language = None
        elif language is not None:
            fenced.append(line)
        elif line.startswith("    "):
            found.append(Shown(page, line.strip()))
    assert language is None, f"{page}: a fence is not closed"
    return found


def _of_fence(page: str, language: str, lines: list[str]) -> list[Shown]:
    if language == "python":
        return [Shown(page, "\n".join(lines), is_program=True)]
    if language in ("toml", "text"):
        return []  # a file, which a test reads, or a drawing
    assert language in ("", "sh", "bash"), f"{page}: nobody knows how to run {language!r}"
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Shown(page, line) for line in whole.splitlines() if line.strip()]


def named_on(page: str) -> list[str]:
    """What follows tinyaya-export wherever a page shows or names a command."""
    pattern = r"(?:^    |`)tinyaya-export ([a-z][^`\n]*)"
    return re.findall(pattern, read_page(page), re.MULTILINE)


def links_of(page: str) -> list[str]:
    """Targets of links and pictures within the project, with what comes after #."""
    return re.findall(r"\]\(((?!https?:)[^)\s]+)\)", read_page(page))


def anchors_of(page: str) -> set[str]:
    """What links to a heading of a page may say after #."""
    titles = re.findall(r"^#+ (.+)$", read_page(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
