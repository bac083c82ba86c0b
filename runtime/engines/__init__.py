"""Finds the class that runs a bundle's program; an engine is imported when it is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tinyaya.runtime.engines.base import Engine
from tinyaya.runtime.errors import EngineMissingError, OptionError
from tinyaya.runtime.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class EngineSource:
    """Where an engine's class is, the package that it needs, and what can be taken instead.

    install: what pip is told, where that is not the package's name.
    """

    module: str
    name: str
    package: str
    install: str = ""
    instead: str = ""


ENGINES: Mapping[str, EngineSource] = {
    "onnx": EngineSource(
        module="tinyaya.runtime.engines.onnx", name="OnnxEngine", package="onnxruntime"
    ),
    "executorch": EngineSource(
        module="tinyaya.runtime.engines.executorch",
        name="ExecutorchEngine",
        package="executorch",
        install="'tinyaya-export[export]'",
        instead="; or take the engine that needs no torch: --engine native",
    ),
}

CHOICES: Mapping[str, Mapping[str, EngineSource]] = {
    "onnx": {},
    "executorch": {
        "torch": ENGINES["executorch"],
        "native": EngineSource(
            module="tinyaya.runtime.engines.native",
            name="NativeEngine",
            package="tinyaya-native",
            instead=" from its wheel, which `make native` builds and installs; "
            "or take the official binding: --engine torch",
        ),
    },
}
"""The engines to choose from where there are several; nothing else is taken where one is named."""


def load_engine(
    kind: str, name: str | None = None
) -> Callable[[Path, Manifest, int | None], Engine]:
    """Import the engine of the kind, or the one of that name among the kind's CHOICES.

    Called with folder, manifest and threads, it loads a program. Raises OptionError for a name
    that is no choice, and EngineMissingError if the engine's package is not installed.
    """
    choices = CHOICES.get(kind, {})
    if name is not None and name not in choices:
        known = f"known: {', '.join(choices)}" if choices else "which leaves no choice: name none"
        raise OptionError(f"engine is {name!r}; the bundle is for {kind}, {known}")
    source = ENGINES[kind] if name is None else choices[name]
    try:
        engine: Callable[[Path, Manifest, int | None], Engine] = getattr(
            import_module(source.module), source.name
        )
    except ImportError as error:
        raise EngineMissingError(
            f"the bundle runs on {source.package}, which is not installed ({error}); "
            f"pip install {source.install or source.package}{source.instead}"
        ) from error
    return engine
