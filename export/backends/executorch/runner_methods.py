"""Lists the constant methods that ExecuTorch's runners ask of a .pte."""

from typing import Any

from tinyaya.export.backends.base import TracedModel
from tinyaya.export.options import Limits
from tinyaya.export.source.tokenizer import Tokenizer
from tinyaya.runtime.engines.interface import ROWS_METHOD

LOGIT_ROWS = 8  # tokens of a step, at most, that tells of all of them


def logit_rows(limits: Limits) -> int:
    """Tokens of a step, at most, after each of which a program tells its logits."""
    return min(LOGIT_ROWS, limits.chunk)


def runner_methods(traced: TracedModel, tokenizer: Tokenizer) -> dict[str, Any]:
    """Their names and values.

    The runners cut prompts at `get_max_seq_len` and stop at `get_max_context_len`; ROWS_METHOD is
    for our own.
    """
    return {
        "get_bos_id": tokenizer.bos,
        "get_eos_ids": list(tokenizer.stop),
        "get_vocab_size": traced.config.vocab_size,
        "get_n_layers": len(traced.config.layers),
        "get_max_seq_len": traced.limits.chunk,
        "get_max_context_len": traced.limits.context,
        "get_sliding_window": traced.config.window or 0,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
        ROWS_METHOD: logit_rows(traced.limits),
    }
