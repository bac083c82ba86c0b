"""Imports run one way, also those that only types need and those that strings name.

import-linter, a part of `make check`, keeps imports within the layers; it sees neither circles
within a layer nor names in strings.
"""

import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from tests.style.rules import circle, layer_of, named_modules, upward

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(f"tinyaya.{name}" for name in ("benchmarks", "export", "quantize", "runtime"))


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Module -> what it imports, in functions and for types, too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


@pytest.fixture(scope="module")
def named(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Module -> what its strings name, itself left out."""
    found = {}
    for name in imports:
        place = ROOT / Path(*name.split(".")[1:])
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        found[name] = named_modules(path.read_text(encoding="utf-8"), imports) - {name}
    return found


@pytest.fixture(scope="module")
def layers() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    found: list[str] = next(one["layers"] for one in contracts if one["type"] == "layers")
    return found


def test_no_imports_go_in_a_circle(
    imports: dict[str, set[str]], named: dict[str, set[str]]
) -> None:
    assert len(imports) > 150
    assert circle({name: imports[name] | named[name] for name in imports}) == []


def test_no_name_goes_upward(named: dict[str, set[str]], layers: list[str]) -> None:
    tables = {
        "tinyaya.runtime.engines": "tinyaya.runtime.engines.onnx",
        "tinyaya.export.backends": "tinyaya.export.backends.onnx.backend",
        "tinyaya.benchmarks.speed.runners": "tinyaya.benchmarks.peers.llama_cpp",
        "tinyaya.benchmarks.speed.places.host": "tinyaya.benchmarks.speed.places.board",
    }
    for module, other in tables.items():
        assert other in named[module]
    assert list(upward(named, layers)) == []


def test_every_room_has_its_layer(imports: dict[str, set[str]], layers: list[str]) -> None:
    without = {name for name in imports if layer_of(name, layers) is None}
    assert without == {"tinyaya.export"}  # which holds nothing but them


def test_a_circle_through_types_and_strings_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("def f():\n    from made_up import b\n    return b\n")
    (package / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made_up import a\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    graph = grimp.build_graph("made_up", cache_dir=None)
    found = circle({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})
    assert set(found) == {"made_up.a", "made_up.b"} and found[0] == found[-1]
    sys.modules.pop("made_up", None)

    source = 'TABLE = {"x": "tinyaya.b"}\nCOMMAND = f"{1} -m tinyaya.c"\n'
    assert named_modules(source, ["tinyaya.b", "tinyaya.c"]) == {"tinyaya.b", "tinyaya.c"}
    assert circle({"tinyaya.a": ["tinyaya.b"], "tinyaya.b": ["tinyaya.a"]})
    assert not circle({"tinyaya.a": ["tinyaya.b"], "tinyaya.b": []})


def test_what_a_docstring_or_a_message_names_does_not_count() -> None:
    source = '"""tinyaya.a"""\ndef f():\n    "tinyaya.b"\n    raise E("use tinyaya.c for that")\n'
    assert named_modules(source, ["tinyaya.a", "tinyaya.b", "tinyaya.c"]) == set()


def test_a_name_that_goes_upward_or_aside_is_found() -> None:
    rows = ["tinyaya.top", "tinyaya.left | tinyaya.right", "tinyaya.bottom"]
    named = {
        "tinyaya.left.deep.module": ["tinyaya.bottom.x", "tinyaya.left.other", "tinyaya.right"],
        "tinyaya.bottom": ["tinyaya.top.x"],
    }
    assert list(upward(named, rows)) == [
        "tinyaya.left.deep.module names tinyaya.right, which is not below it",
        "tinyaya.bottom names tinyaya.top.x, which is not below it",
    ]
