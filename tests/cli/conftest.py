"""The command line, called as a shell would."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tinyaya.export.cli import app as cli


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The parsed output."""
        return json.loads(self.out)


Command = Callable[..., Result]


def content(folder: Path) -> dict[str, bytes]:
    """Name -> bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Call `tinyaya-export` with arguments."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr("sys.argv", ["tinyaya-export", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call
