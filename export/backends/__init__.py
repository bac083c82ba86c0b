"""Finds the backend that turns a traced model into a program; a row of the table a backend."""

from importlib import import_module

from tinyaya.export.backends.base import Backend
from tinyaya.export.errors import MissingExtraError
from tinyaya.runtime.errors import OptionError

BACKENDS = {
    "onnx": "tinyaya.export.backends.onnx.backend",
    "executorch": "tinyaya.export.backends.executorch.backend",
}


def find_backend(name: str) -> Backend:
    """The backend of that name, imported now; raises OptionError or MissingExtraError."""
    if name not in BACKENDS:
        raise OptionError(f"no backend is called {name!r}; known: {', '.join(BACKENDS)}, both")
    try:
        backend: Backend = import_module(BACKENDS[name]).BACKEND
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"backend {name!r} needs the package {error.name}; pip install 'tinyaya-export[export]'"
        ) from error
    return backend
