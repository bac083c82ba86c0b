from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_bundle import ScriptedEngine, write_bundle

from tinyaya.runtime import ENGINES, Session, open_bundle
from tinyaya.runtime.engines import EngineSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def scripted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """Make a session whose engine wants the given ids after a prompt of `start` tokens."""
    source = EngineSource(module="tiny_bundle", name="ScriptedEngine", package="none")
    monkeypatch.setitem(ENGINES, "onnx", source)  # type: ignore[arg-type]

    def make(answer: list[int] | None = None, start: int = 0) -> Session:
        script = {start + index: token for index, token in enumerate(answer or [])}
        monkeypatch.setattr(ScriptedEngine, "script", script)
        return open_bundle(folder).session()

    return make
