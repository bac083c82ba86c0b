"""The page of the architecture is true: its files are there, its layers are those checked."""

import re
import tomllib
from collections import defaultdict

from tests.docs.pages import ROOT, read_page

PAGE = read_page("docs/architecture.md")


def test_the_files_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:benchmarks|export|quantize|runtime)/[\w./]*)`", PAGE)
    assert len(named) > 60
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_its_layers_are_those_that_are_checked() -> None:
    layers = defaultdict(set)
    for number, name in re.findall(r"^\| (\d+) \| `(.+?)` \|", PAGE, re.MULTILINE):
        layers[int(number)].add(f"tinyaya.{name.removesuffix('.py').strip('/').replace('/', '.')}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    checked = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert [layers[number + 1] for number in range(len(checked))] == [
        set(row.split(" | ")) for row in checked
    ]


def test_its_lines_fit() -> None:
    assert max(map(len, PAGE.splitlines())) <= 100
