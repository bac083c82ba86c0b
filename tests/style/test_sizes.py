"""Functions, files and folders stay small enough to be read at once."""

import tomllib
from pathlib import Path

from tests.style.rules import SOURCES, full_folders, long_files, long_functions, sources

ROOT = Path(__file__).parents[2]


def options() -> int:
    """Arguments that ruff allows: only lists of options may have more."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    most: int = settings["tool"]["ruff"]["lint"]["pylint"]["max-args"]
    return most


def test_functions() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in sources(ROOT)
        if path.suffix == ".py"
        for what in long_functions(path.read_text(encoding="utf-8"), options())
    ]
    assert found == []


def test_files() -> None:
    files = sources(ROOT)
    assert {path.relative_to(ROOT).parts[0] for path in files} == set(SOURCES)
    assert list(long_files(files)) == []


def test_folders() -> None:
    assert list(full_folders(sources(ROOT))) == []


def _function(arguments: int, lines: int) -> str:
    """A function with an argument a line and so many lines after the signature."""
    signature = "".join(f"    a{number},\n" for number in range(arguments))
    return f"def f(\n{signature}) -> None:\n" + "    pass\n" * lines


def test_a_long_function_is_found() -> None:
    assert not list(long_functions(_function(6, 32), 6))
    assert list(long_functions(_function(6, 33), 6)) == ["f has 41 lines, at most 40 are allowed"]
    assert not list(long_functions(_function(20, 40), 6))  # a list of options
    assert list(long_functions(_function(20, 41), 6))
    assert list(long_functions("class A:\n    async def f(self):\n" + "        pass\n" * 40, 6))


def test_a_long_file_and_a_full_folder_are_found(tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / f"m{number}.py").write_text("x = 1\n" * 400)
    (tmp_path / "__init__.py").touch()
    files = sorted(tmp_path.iterdir())
    assert len(list(full_folders(files))) == 1
    assert not list(full_folders(files[:-1])) and not list(long_files(files))
    files[-1].write_text("x = 1\n" * 401)
    assert len(list(long_files(files))) == 1
