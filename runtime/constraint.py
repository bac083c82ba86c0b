"""Holds an answer to a JSON schema, regular expression or grammar, by masking logits.

The library llguidance does the work. Shape suffixes: V vocabulary.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyaya.runtime.errors import ConstraintError, EngineMissingError
from tinyaya.runtime.sampling import Logits

if TYPE_CHECKING:
    from llguidance import LLTokenizer

# Blanks between values could go on for ever; small models do that.
_ONE_LINE_JSON = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

# Kind of constraint -> what makes llguidance's grammar of it.
CONSTRAINT_KINDS: Mapping[str, Callable[[str], str]] = {
    "json_schema": lambda text: _library().LLMatcher.grammar_from_json_schema(text, _ONE_LINE_JSON),
    "regex": lambda text: _library().LLMatcher.grammar_from_regex(text),
    "grammar": lambda text: _library().LLMatcher.grammar_from_lark(text),
}


class Grammars:
    """What a tokenizer needs to be held to a form; made once, as it takes a while.

    Raises EngineMissingError if llguidance is not installed.
    """

    def __init__(self, tokenizer_file: Path, vocab_size: int, stop: Sequence[int]) -> None:
        """tokenizer_file: tokenizer.json. stop: ids that end answers."""
        self._vocab_size = vocab_size
        self._tokenizer: LLTokenizer = _library().LLTokenizer(
            tokenizer_file.read_text(encoding="utf-8"), n_vocab=vocab_size, eos_token=list(stop)
        )

    def constraint(self, kind: str, text: str) -> "Constraint":
        """Hold one answer to `text`, which is of a kind of CONSTRAINT_KINDS.

        Raises ConstraintError with what the library says of the text.
        """
        try:
            if kind == "json_schema":
                json.loads(text)
            grammar = CONSTRAINT_KINDS[kind](text)
            matcher = _library().LLMatcher(self._tokenizer, grammar, log_level=0)
        except (ValueError, RecursionError) as error:
            raise ConstraintError(f"the {_words(kind)} cannot be read: {error}") from error
        if matcher.is_error():
            first = " ".join(str(matcher.get_error()).split())[:300]
            raise ConstraintError(f"the {_words(kind)} cannot be used: {first}")
        return Constraint(matcher, kind, self._vocab_size)


class Constraint:
    """One answer's form; `mask` before each draw, `accept` after it."""

    def __init__(self, matcher: Any, kind: str, vocab_size: int) -> None:
        self._matcher, self._kind, self._vocab_size = matcher, kind, vocab_size
        self._words = np.zeros((vocab_size + 31) // 32, np.uint32)

    @property
    def complete(self) -> bool:
        """Whether the answer so far is all that the form asks for."""
        return bool(self._matcher.is_accepting())

    def mask(self, logits_V: Logits) -> None:
        """Set to -inf, in place, the logits of ids that the form does not allow here."""
        words = self._words
        self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        self._check()
        bits = np.unpackbits(words.view(np.uint8), bitorder="little", count=self._vocab_size)
        np.putmask(logits_V, bits == 0, np.float32("-inf"))

    def accept(self, token: int) -> None:
        """Go on after `token`, which `mask` allowed."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            first = " ".join(str(self._matcher.get_error()).split())[:300]
            raise ConstraintError(f"the {_words(self._kind)} cannot be followed: {first}")


def _words(kind: str) -> str:
    return {"json_schema": "JSON schema", "regex": "regular expression"}.get(kind, kind)


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise EngineMissingError(
            "structured output needs llguidance, which is not installed; "
            "pip install 'tinyaya-export[grammar]'"
        ) from error
    return llguidance
