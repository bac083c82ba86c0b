"""Runs an ONNX program; each cache is one buffer that ONNX Runtime updates in place."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tinyaya.runtime.engines.base import EngineState, Mark, check_sizes
from tinyaya.runtime.engines.interface import (
    IDS_INPUT,
    LOGITS_OUTPUT,
    MASK_INPUT,
    ONNX_CACHE_PARTS,
    ROWS_INPUT,
    past_name,
    present_name,
)
from tinyaya.runtime.engines.mapped_files import release_mapped
from tinyaya.runtime.errors import OptionError, ProgramError
from tinyaya.runtime.manifest import Manifest, Preamble

ort.disable_telemetry_events()  # where another package loaded it first
_LOG_ERRORS_ALONE = 3
# KleidiAI multiplies int4 on ARM: 2 to 8 % more KL than without, for fewer instructions.
_SESSION_ENTRIES = {"mlas.disable_kleidiai": "0"}
_ORT_TYPES = {"float32": "tensor(float)", "int8": "tensor(int8)"}  # of CACHE_DTYPES


class OnnxEngine:
    """ONNX Runtime on the CPU; see `Engine`.

    threads: None lets ONNX Runtime take one a physical core.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int | None) -> None:
        self._context, self._window = manifest.limits.context, manifest.model.window
        self._slots = {shape.slots for shape in manifest.cache if shape.slots < self._context}
        self._end = 0
        self._ones = np.ones((1, self._context), np.int64)
        self._session = _load(folder / manifest.program, threads)
        release_mapped(folder)
        _check_caches(self._session, folder, manifest)
        self._cache_shapes = manifest.cache
        options = {entry.name for entry in self._session.get_overridable_initializers()}
        self.rows = manifest.limits.chunk if ROWS_INPUT in options else 1
        self._make_caches()
        self._preamble = self._read_preamble(folder, manifest.preamble)

    def _make_caches(self) -> None:
        self._binding = self._session.io_binding()
        self._rows_asked = np.ones(1, np.int64)
        if self.rows > 1:
            asked = ort.OrtValue.ortvalue_from_numpy(self._rows_asked)  # the same memory
            self._binding.bind_ortvalue_input(ROWS_INPUT, asked)
        self._caches: list[NDArray[Any]] = []  # keys and values of the first layer, of the next ...
        for index, shape in enumerate(self._cache_shapes):
            for part in ONNX_CACHE_PARTS:
                sizes = (1, shape.kv_heads, shape.slots, shape.head_dim)
                zeros = np.zeros(sizes, shape.dtype)
                self._caches.append(zeros)
                cache = ort.OrtValue.ortvalue_from_numpy(zeros)  # the same memory
                self._binding.bind_ortvalue_input(past_name(index, part), cache)
                self._binding.bind_ortvalue_output(present_name(index, part), cache)

    def step(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `Engine.step`."""
        logits_V: NDArray[np.float32] = self._run(ids, position, 1)[-1]
        return logits_V

    def step_rows(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `Engine.step_rows`."""
        return self._run(ids, position, len(ids))

    def _run(self, ids: Sequence[int], position: int, rows: int) -> NDArray[np.float32]:
        """logits_TV of the last `rows` positions of a step."""
        end = position + len(ids)
        if self.rows > 1:
            self._rows_asked[0] = rows
        self._binding.bind_cpu_input(IDS_INPUT, np.array([ids], np.int64))
        self._binding.bind_cpu_input(MASK_INPUT, self._ones[:, :end])
        self._binding.bind_output(LOGITS_OUTPUT, "cpu")
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise ProgramError(
                f"onnxruntime {ort.__version__} does not run the program: {_line(error)}"
            ) from error
        self._end = end
        logits_BTV = self._binding.get_outputs()[-1].numpy()
        logits_TV: NDArray[np.float32] = logits_BTV[0]
        return logits_TV

    def restore(self) -> None:
        """As `Engine.restore`."""
        assert self._preamble is not None
        for cache, first in zip(self._caches, self._preamble, strict=True):
            cache[0, :, : first.shape[1]] = first
        self._end = self._preamble.shape[2]

    def first_slots(self, count: int) -> NDArray[Any]:
        """What the first `count` slots of all caches hold: [layers, 2, kv_heads, count, head_dim].

        While no window layer has moved its keys, those are the first `count` positions.
        """
        first = np.stack([cache[0, :, :count] for cache in self._caches])
        return first.reshape(-1, 2, *first.shape[1:])

    def _read_preamble(self, folder: Path, preamble: Preamble | None) -> NDArray[Any] | None:
        """Map the file that `first_slots` filled; its first two dimensions become one."""
        if preamble is None:
            return None
        if preamble.file is None:
            raise ProgramError(f"{folder} names no file for its preamble; export the bundle again")
        path, cache = folder / preamble.file, self._caches[0]
        shape = (len(self._caches) // 2, 2, cache.shape[1], len(preamble.ids), cache.shape[3])
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ProgramError(f"{path} cannot be read: {error}; export it again") from error
        dtype = np.result_type(*self._caches)  # the widest, where layers differ
        if (found.shape, found.dtype) != (shape, dtype):
            raise ProgramError(
                f"{path} holds {found.dtype} {list(found.shape)}; expected {dtype} "
                f"{list(shape)}, as the caches are: export the bundle again"
            )
        rows: NDArray[Any] = found.reshape(-1, *found.shape[2:])
        return rows

    def can_rewind(self, position: int) -> bool:
        """As `Engine.can_rewind`: true until a window layer has moved its keys down."""
        return self.keeps(position, self._end)

    def keeps(self, position: int, end: int) -> bool:
        """As `Engine.keeps`."""
        return position == 0 or all(
            self._moves(position, slots) == self._moves(end, slots) for slots in self._slots
        )

    def take(self, position: int) -> EngineState:
        """As `Engine.take`."""
        used = [count for count in self._used(position) for _ in range(2)]
        caches = (cache[0, :, :count] for cache, count in zip(self._caches, used, strict=True))
        return EngineState(
            mark=Mark(written=position, restoring=False), caches=tuple(map(np.copy, caches))
        )

    def put(self, state: EngineState) -> None:
        """As `Engine.put`."""
        position = state.mark.written
        used = [count for count in self._used(position) for _ in range(2)]
        rows = [cache[0, :, :count] for cache, count in zip(self._caches, used, strict=True)]
        check_sizes(rows, state)
        for row, held in zip(rows, state.caches, strict=True):
            row[:] = held
        self._end = position

    def fork(self) -> "OnnxEngine":
        """As `Engine.fork`."""
        other = copy(self)
        other._make_caches()
        other._end = 0
        return other

    def _used(self, position: int) -> list[int]:
        """How many slots of each layer hold the first `position` positions."""
        return [
            position - self._moves(position, shape.slots) * (shape.slots - self._window + 1)
            if self._window and shape.slots in self._slots
            else position
            for shape in self._cache_shapes
        ]

    def _moves(self, end: int, slots: int) -> int:
        """How often a window layer of `slots` has made room on the way to `end` positions.

        A layer appends until it is full, drops its oldest slots - window + 1, and appends on.
        """
        assert self._window is not None
        return max(0, -(-(end - slots) // (slots - self._window + 1)))


def _check_caches(session: ort.InferenceSession, folder: Path, manifest: Manifest) -> None:
    """Types and sizes of the program's caches, where it has fixed them, are the manifest's."""
    found = {entry.name: (entry.type, entry.shape) for entry in session.get_inputs()}
    for index, shape in enumerate(manifest.cache):
        kind, sizes = found.get(past_name(index, "key"), (None, []))
        expected = [1, shape.kv_heads, shape.slots, shape.head_dim]
        fits = len(sizes) == 4 and all(
            have == want for have, want in zip(sizes, expected, strict=True) if type(have) is int
        )
        if kind != _ORT_TYPES[shape.dtype] or not fits:
            raise ProgramError(
                f"{folder / manifest.program} keeps layer {index} as {kind} {sizes}, the manifest "
                f"says {shape.dtype} {expected}; export the bundle again"
            )


def _load(path: Path, threads: int | None) -> ort.InferenceSession:
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}; expected at least 1")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = _LOG_ERRORS_ALONE
    for key, value in _SESSION_ENTRIES.items():
        options.add_session_config_entry(key, value)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise ProgramError(
            f"onnxruntime {ort.__version__} does not load {path}: {_line(error)}"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
