"""Runs a .pte by the library of `runtime/native`. Needs no torch."""

import ctypes as c
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tinyaya_native
from numpy.typing import NDArray

from tinyaya.runtime.engines.interface import ROWS_METHOD
from tinyaya.runtime.engines.native_stderr import hidden_native_stderr
from tinyaya.runtime.engines.pte import PteEngine, told
from tinyaya.runtime.engines.pte_file import attention_may_read_codes
from tinyaya.runtime.errors import OptionError, ProgramError
from tinyaya.runtime.manifest import Manifest

_TEXT_BYTES, _MOST_DIMENSIONS = 512, 8  # of library.h
_CTYPES = {1: c.c_int8, 4: c.c_int64, 6: c.c_float}  # by ExecuTorch's ScalarType
_Program, _Text = c.c_void_p, c.c_char * _TEXT_BYTES


class _Buffer(c.Structure):
    """`tinyaya_buffer` of library.h."""

    _fields_ = (
        ("data", c.c_void_p),
        ("type", c.c_int32),
        ("rank", c.c_int32),
        ("sizes", c.c_int64 * _MOST_DIMENSIONS),
    )


@cache
def load_library() -> c.CDLL:
    """Load the library, once a process; its functions are those of library.h."""
    with hidden_native_stderr():  # cpuinfo's notes on what /sys lacks
        library = c.CDLL(str(tinyaya_native.LIBRARY))
    library.tinyaya_open.argtypes = (c.c_char_p, c.c_int, c.POINTER(_Program), _Text)
    library.tinyaya_close.argtypes = (_Program,)
    library.tinyaya_close.restype = None
    library.tinyaya_forward.argtypes = (
        *(_Program, c.c_void_p, c.c_int64, c.c_int64),
        *(c.c_void_p, c.c_int64, c.c_int64, _Text),
    )
    library.tinyaya_find.argtypes = (_Program, c.c_char_p, c.POINTER(_Buffer), _Text)
    library.tinyaya_constant.argtypes = (_Program, c.c_char_p, c.POINTER(c.c_int64), _Text)
    library.tinyaya_kernels.restype = c.c_char_p
    return library


class _Method:
    """A `Program` of the native library."""

    def __init__(self, library: c.CDLL, path: Path, vocab_size: int) -> None:
        self._library, self._path, self._vocab_size = library, path, vocab_size
        self._program, text = _Program(), _Text()
        failed = library.tinyaya_open(
            str(path).encode(), attention_may_read_codes(path), c.byref(self._program), text
        )
        self._check(failed, text, "load")
        weakref.finalize(self, library.tinyaya_close, self._program)
        self.rows = self._constant(ROWS_METHOD, 1)

    def forward(self, ids: Sequence[int], start: int) -> NDArray[np.float32]:
        tokens_T = np.array(ids, np.int64)
        shape = (told(len(ids), self.rows), self._vocab_size)
        logits_TV, text = np.empty(shape, np.float32), _Text()
        failed = self._library.tinyaya_forward(
            *(self._program, tokens_T.ctypes.data, len(tokens_T), start),
            *(logits_TV.ctypes.data, *shape, text),
        )
        self._check(failed, text, "run")
        return logits_TV

    def buffer(self, name: str) -> NDArray[Any]:
        found, text = _Buffer(), _Text()
        failed = self._library.tinyaya_find(self._program, name.encode(), c.byref(found), text)
        self._check(failed, text, f"find {name} in")
        kind: Any = _CTYPES[found.type]
        for size in reversed(found.sizes[: found.rank]):
            kind = kind * size
        held = kind.from_address(found.data)
        held.program = self  # the memory is the program's, and lives while an array shows it
        buffer: NDArray[Any] = np.ctypeslib.as_array(held)
        return buffer

    def _constant(self, name: str, otherwise: int) -> int:
        """What a constant method of the program says; `otherwise` where there is none."""
        value, text = c.c_int64(otherwise), _Text()
        failed = self._library.tinyaya_constant(self._program, name.encode(), c.byref(value), text)
        self._check(failed, text, f"ask {name} of")
        return value.value

    def _check(self, failed: int, text: "c.Array[c.c_char]", verb: str) -> None:
        if failed:
            reason = text.value.decode(errors="replace")
            raise ProgramError(
                f"the native engine does not {verb} {self._path}: {reason}; "
                "copy the bundle again, or export it again"
            )


class NativeEngine(PteEngine):
    """ExecuTorch on the CPU, with our own attention; see `Engine`.

    threads: None leaves the pool of threads as it is; it is the whole process's.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int | None) -> None:
        if threads is not None and threads < 1:
            raise OptionError(f"threads is {threads}; expected at least 1")
        library = load_library()
        with hidden_native_stderr():  # XNNPACK's notes on the CPU
            library.tinyaya_threads(threads or 0)
            program = _Method(library, folder / manifest.program, manifest.model.vocab_size)
        super().__init__(folder, manifest, program)
