"""One run of every board a session, for all its tests; `make arm` makes what it needs."""

from pathlib import Path

import pytest

from tests.arm.boards import BOARDS
from tests.arm.facts import ALL, COUNTED, ENGINES, GREEDY, QUICK, THOROUGH, Facts, Scope, gather

FIGURES = pytest.StashKey[list[str]]()
CACHE = Path.home() / ".cache/tinyaya-export/arm"


def pytest_addoption(parser: pytest.Parser) -> None:
    """--quick: what CI has time for; --thorough: more greedy tokens, for half an hour.

    --cache: where `environment.sh` put its folder.
    --write-baseline: keep the counts of instructions, where they are meant to have changed.
    """
    parser.addoption("--quick", action="store_true")
    parser.addoption("--thorough", action="store_true")
    parser.addoption("--write-baseline", action="store_true")
    parser.addoption("--cache", type=Path, default=CACHE)


def _scope(config: pytest.Config) -> Scope:
    if config.getoption("--thorough"):
        return THOROUGH
    return QUICK if config.getoption("--quick") else ALL


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Boards, backends and recipes of the tests that ask for them."""
    values = {
        "board": BOARDS,
        "greedy_board": GREEDY,
        "counted_board": COUNTED,
        "backend": ENGINES,
        "recipe": _scope(metafunc.config).recipes,
    }
    for name in values.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, values[name])


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest) -> Path:
    """The folder with the environment, which must be there."""
    folder: Path = request.config.getoption("--cache")
    if not (folder / "environment/complete").exists():
        pytest.exit(f"{folder} holds no ARM environment; expected `make arm`", returncode=2)
    return folder


@pytest.fixture(scope="session")
def facts(request: pytest.FixtureRequest, cache: Path) -> Facts:
    """All that boards and this machine say; only boards that a chosen test asks for are run."""
    names = ("board", "greedy_board", "counted_board")
    chosen = {
        item.callspec.params[name]
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        for name in names
        if name in item.callspec.params
    }
    return gather(cache, _scope(request.config), [name for name in BOARDS if name in chosen])


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[str]:
    """Lines to show below the verdicts."""
    return request.config.stash.setdefault(FIGURES, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show them."""
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(line)
