"""Runs llama.cpp on the same weights: quantizes a checkpoint to a GGUF, and feeds one.

Usage: python -m tinyaya.benchmarks.peers.llama_cpp SRC OUT.gguf --type Q4_0
Shape suffixes: V vocabulary.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import llama_cpp
import numpy as np
import typer
from numpy.typing import NDArray

from tinyaya.benchmarks.peers import GLOBAL_EVERY
from tinyaya.benchmarks.speed.runner import Loading, Runner
from tinyaya.runtime import OptionError, ProgramError
from tinyaya.runtime.facts import Facts, KvLayer
from tinyaya.runtime.whole_file import whole_file

# llama.cpp's own formats; those of FLOAT_TYPES in `gguf_file` are written without it.
QUANTIZED_TYPES: Mapping[str, int] = {
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q5_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
}
_BATCH_TOKENS = 512
_CACHE_VALUE_BYTES = 2  # float16, its default
_MAX_TEXT_BYTES = 64


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _silent(level: int, text: bytes, data: object) -> None:
    """What llama.cpp would tell on stderr; errors come back as return values."""


class LlamaRunner:
    """A GGUF on the CPU, with the defaults of llama.cpp's own programs; see `Runner`.

    They differ from the library's in one point: window layers keep window + batch positions only
    (swa_full is off). Weights are mapped from the file, and copied where a kernel wants another
    layout. context: None takes the one that the model was trained with. A step's time depends on
    which positions its cache holds, so `jump` feeds them all, on all cores, and keeps the state.
    """

    def __init__(self, loading: Loading) -> None:
        path, threads = loading.path, loading.threads
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        if not self._model:
            raise ProgramError(f"llama.cpp does not load {path}; expected a GGUF of its version")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = loading.context or llama_cpp.llama_model_n_ctx_train(self._model)
        params.n_batch = params.n_ubatch = _BATCH_TOKENS
        params.n_threads = params.n_threads_batch = threads
        params.swa_full = False
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise OptionError(f"llama.cpp makes no context of {params.n_ctx} for {path}")
        self._loading, self._states = loading, _state_names(loading)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(self._model)
        )

    @property
    def facts(self) -> Facts:
        """As `Runner.facts`; its table is read whole by the head, so all weights count."""
        model = self._model
        size = llama_cpp.llama_model_size(model)
        window = llama_cpp.llama_model_n_swa(model)
        head_dim = int(self._metadata("cohere2.attention.key_length"))
        position = 2 * llama_cpp.llama_model_n_head_kv(model) * head_dim * _CACHE_VALUE_BYTES
        return Facts(
            engine="llama.cpp",
            label=f"llama.cpp {self._kind()}",
            model_bytes=size,
            parameters=llama_cpp.llama_model_n_params(model),
            vocab_size=self._vocab_size,
            context=llama_cpp.llama_n_ctx(self._context),
            weights_read_bytes=size,
            model_type=f"cohere2 {self._kind()}",
            chunk=_BATCH_TOKENS,
            kv_type="f16",
            layers=tuple(
                KvLayer(
                    window=window if (index + 1) % GLOBAL_EVERY else None, position_bytes=position
                )
                for index in range(llama_cpp.llama_model_n_layer(model))
            ),
        )

    def feed(self, ids: Sequence[int], position: int) -> NDArray[np.float32]:
        """As `Runner.feed`."""
        if position == 0:
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), 0)
        for start in range(0, len(ids), _BATCH_TOKENS):
            part = ids[start : start + _BATCH_TOKENS]
            self._decode(part, position + start, last=start + len(part) == len(ids))
        logits = llama_cpp.llama_get_logits_ith(self._context, -1)
        logits_V: NDArray[np.float32] = np.ctypeslib.as_array(logits, (self._vocab_size,)).copy()
        return logits_V

    def jump(self, ids: Sequence[int]) -> None:
        """As `Runner.jump`; from a state kept before, or one that this leaves in `states`."""
        if not self._loading.states:
            self.feed(ids, 0)
            return
        kept = self._loading.states / f"{self._states}{len(ids)}"
        if not kept.exists():
            self._keep(ids, kept)
        self._restore(kept)

    def close(self) -> None:
        """Free the model; the runner is of no use afterwards."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def _decode(self, ids: Sequence[int], position: int, *, last: bool) -> None:
        """One batch of one sequence; logits of its last token, where it is the last of all."""
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for index, token in enumerate(ids):
            batch.token[index], batch.pos[index] = token, position + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = last and index == len(ids) - 1
        code = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_synchronize(self._context)
        llama_cpp.llama_batch_free(batch)
        if code:
            raise ProgramError(f"llama_decode of {len(ids)} ids at {position} returned {code}")

    def _keep(self, ids: Sequence[int], kept: Path) -> None:
        """Feed what the longest state kept of fewer ids lacks, and write the state after it."""
        lengths = [int(path.suffix[1:]) for path in kept.parent.glob(f"{self._states}*[0-9]")]
        done = max((length for length in lengths if length < len(ids)), default=0)
        if done:
            self._restore(kept.parent / f"{self._states}{done}")
        threads = self._loading.threads
        llama_cpp.llama_set_n_threads(self._context, threads, len(os.sched_getaffinity(0)))
        self.feed(ids[done:], done)
        llama_cpp.llama_set_n_threads(self._context, threads, threads)
        kept.parent.mkdir(parents=True, exist_ok=True)
        tokens = (llama_cpp.llama_token * 0)()
        save = llama_cpp.llama_state_seq_save_file
        with whole_file(kept) as part:
            if not save(self._context, str(part).encode(), 0, tokens, 0):
                raise ProgramError(f"llama.cpp does not write its state to {part}; is there room?")

    def _restore(self, kept: Path) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), 0)
        tokens, count = (llama_cpp.llama_token * 0)(), ctypes.c_size_t()
        load = llama_cpp.llama_state_seq_load_file
        if not load(self._context, str(kept).encode(), 0, tokens, 0, ctypes.byref(count)):
            raise ProgramError(f"llama.cpp does not read its state from {kept}; delete it")

    def _kind(self) -> str:
        """The weights' type, by its name in QUANTIZED_TYPES or as llama.cpp guesses it."""
        names = {str(code): name for name, code in QUANTIZED_TYPES.items()}
        found = self._find_metadata("general.file_type")
        if found in names:
            return names[found]
        text = ctypes.create_string_buffer(_MAX_TEXT_BYTES)
        llama_cpp.llama_model_desc(self._model, text, _MAX_TEXT_BYTES)
        return text.value.decode().split()[-1]

    def _metadata(self, key: str) -> str:
        value = self._find_metadata(key)
        if value is None:
            raise ProgramError(f"the GGUF has no {key}; expected one of the cohere2 architecture")
        return value

    def _find_metadata(self, key: str) -> str | None:
        value = ctypes.create_string_buffer(_MAX_TEXT_BYTES)
        find: Any = llama_cpp.llama_model_meta_val_str
        missing = find(self._model, key.encode(), value, _MAX_TEXT_BYTES) < 0
        return None if missing else value.value.decode()


def _state_names(loading: Loading) -> str:
    """How the names of this file's states begin; their number of ids follows."""
    name, context = str(loading.path.resolve()), loading.context
    return f"{crc32(f'{name} {loading.path.stat().st_mtime_ns} {context}'.encode()):08x}."


def prepare_llama(loading: Loading) -> Callable[[], Runner]:
    """Import what a GGUF needs; the function returned loads it."""
    return lambda: LlamaRunner(loading)


def quantize_gguf(source: Path, target: Path, kind: str) -> None:
    """Let llama.cpp quantize a 16- or 32-bit GGUF to a row of QUANTIZED_TYPES."""
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = QUANTIZED_TYPES[kind]
    names = str(source).encode(), str(target).encode()
    if code := llama_cpp.llama_model_quantize(*names, ctypes.byref(params)):
        raise ProgramError(f"llama.cpp does not quantize {source} to {kind}: it returned {code}")


def convert(source: Path, target: Path, kind: str) -> None:
    """Write the checkpoint `source` as a GGUF of that type, by way of bfloat16 where quantized."""
    from tinyaya.benchmarks.peers.gguf_file import FLOAT_TYPES, write_gguf

    known = (*FLOAT_TYPES, *QUANTIZED_TYPES)
    if kind not in known:
        raise OptionError(f"{kind!r} is no type; known: {', '.join(known)}")
    if kind in FLOAT_TYPES:
        write_gguf(source, target, kind)
        return
    whole = target.with_suffix(".bf16.gguf")
    try:
        write_gguf(source, whole)
        quantize_gguf(whole, target, kind)
    finally:
        whole.unlink(missing_ok=True)


def main(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Checkpoint folder.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.gguf", help="Where the file goes.")],
    kind: Annotated[str, typer.Option("--type", help="Q4_0, Q4_K_M, Q8_0, F16, ...")] = "Q4_0",
) -> None:
    """Convert SRC to a GGUF for llama.cpp; a bfloat16 file lies beside it meanwhile."""
    try:
        convert(source, target, kind)
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    print(f"{target}: {kind}, {target.stat().st_size / 1e6:.1f} MB", file=sys.stdout)


if __name__ == "__main__":
    typer.run(main)
