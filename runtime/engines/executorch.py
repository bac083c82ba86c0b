"""An ExecuTorch program in, logits out; the program keeps its caches itself. Needs torch."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.errors import OptionError, ProgramError
from runtime.manifest import Manifest
from runtime.mapped_files import release_mapped
from runtime.native_stderr import hidden_native_stderr

with warnings.catch_warnings():  # its API calls itself experimental
    warnings.simplefilter("ignore")
    import executorch.kernels.quantized  # noqa: F401  registers operators
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401  registers operators
    from executorch.extension.pybindings import portable_lib


class ExecutorchEngine:
    """ExecuTorch on the CPU; see `Engine`.

    threads: None leaves the pools of threads as they are; they are the whole process's.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int | None) -> None:
        self._context = context = manifest.limits.context
        self._preamble = len(manifest.preamble.ids) if manifest.preamble else 0
        self._restoring = False
        self._window = manifest.model.window
        self._slots = {shape.slots for shape in manifest.cache if shape.slots < context}
        self._written = 0
        self._method = _load(folder / manifest.program, threads)
        release_mapped(folder)

    def step(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `Engine.step`."""
        restoring = self._restoring and position > 0
        start = position + 2 * self._context if restoring else position
        inputs = (torch.tensor([list(ids)]), torch.tensor([start]))
        logits_BTV: torch.Tensor = self._method(inputs)[0]
        self._restoring = False
        end = position + len(ids)
        self._written = end if position == 0 else max(self._written, end)
        logits_V: NDArray[np.float32] = logits_BTV[0, -1].numpy()
        return logits_V

    def restore(self) -> None:
        """As `Engine.restore`: the program does it in its next step."""
        assert self._preamble
        self._restoring, self._written = True, self._preamble

    def buffer(self, name: str) -> torch.Tensor:
        """A buffer of the program, such as a cache: its own memory, not a copy."""
        buffer: torch.Tensor = self._method.get_attribute(name)
        return buffer

    def can_rewind(self, position: int) -> bool:
        """As `Engine.can_rewind`.

        Slot s of a ring holds the last position written with p % slots == s, so all from
        written - slots on are there, and `position` sees from position - window + 1 on.
        """
        return position == 0 or all(self._keeps(position, slots) for slots in self._slots)

    def _keeps(self, position: int, slots: int) -> bool:
        assert self._window is not None
        return max(0, position - self._window + 1) >= self._written - slots


def _load(path: Path, threads: int | None) -> Any:
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}; expected at least 1")
    try:
        with hidden_native_stderr():  # cpuinfo's notes on what /sys lacks
            if threads is not None:
                # XNNPACK uses the one pool, attention the other; of unlike sizes, they fight.
                portable_lib._unsafe_reset_threadpool(threads)
                torch.set_num_threads(threads)
            return portable_lib._load_program(str(path)).load_method("forward")
    except RuntimeError as error:
        raise ProgramError(f"ExecuTorch does not load {path}: {error}") from error
