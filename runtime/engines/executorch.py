"""Runs a .pte by ExecuTorch's own Python binding. Needs torch."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinyaya.runtime.engines.interface import ROWS_METHOD
from tinyaya.runtime.engines.native_stderr import hidden_native_stderr
from tinyaya.runtime.engines.pte import PteEngine
from tinyaya.runtime.errors import OptionError, ProgramError
from tinyaya.runtime.manifest import Manifest

with warnings.catch_warnings():  # its API calls itself experimental
    warnings.simplefilter("ignore")
    import executorch.kernels.quantized  # noqa: F401  registers operators
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401  registers operators
    from executorch.extension.pybindings import portable_lib


class _Method:
    """A `Program` of the official binding."""

    def __init__(self, method: Any, rows: int) -> None:
        self._method, self.rows = method, rows

    def forward(self, ids: Sequence[int], start: int) -> NDArray[np.float32]:
        inputs = (torch.tensor([list(ids)]), torch.tensor([start]))
        logits_BTV: torch.Tensor = self._method(inputs)[0]
        logits_TV: NDArray[np.float32] = logits_BTV[0].numpy()
        return logits_TV

    def buffer(self, name: str) -> NDArray[Any]:
        buffer: NDArray[Any] = self._method.get_attribute(name).numpy()
        return buffer


class ExecutorchEngine(PteEngine):
    """ExecuTorch on the CPU; see `Engine`.

    threads: None leaves the pools of threads as they are; they are the whole process's.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int | None) -> None:
        super().__init__(folder, manifest, _load(folder / manifest.program, threads))


def _load(path: Path, threads: int | None) -> _Method:
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}; expected at least 1")
    try:
        with hidden_native_stderr():  # cpuinfo's notes on what /sys lacks
            if threads is not None:
                # XNNPACK uses the one pool, attention the other; of unlike sizes, they fight.
                portable_lib._unsafe_reset_threadpool(threads)
                torch.set_num_threads(threads)
            program = portable_lib._load_program(str(path))
            names = [program.get_method_name(index) for index in range(program.num_methods())]
            rows = program.load_method(ROWS_METHOD)(())[0] if ROWS_METHOD in names else 1
            return _Method(program.load_method("forward"), rows)
    except RuntimeError as error:
        raise ProgramError(f"ExecuTorch does not load {path}: {error}") from error
