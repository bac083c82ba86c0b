"""Turns text into token ids and back, whole or as a stream that stop strings may end."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import tokenizers
from tokenizers.decoders import DecodeStream

from tinyaya.runtime.errors import BundleError, InvalidTextError, OptionError


def read_tokenizer(text: str) -> tokenizers.Tokenizer:
    """The library's tokenizer of a `tokenizer.json`; raises ValueError for another text."""
    try:
        return tokenizers.Tokenizer.from_str(text)
    except BaseException as error:  # bare Exception, and what Rust's panics become, which is none
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ValueError(str(error)) from error
        raise


class Tokenizer:
    """The tokenizer of a bundle; special tokens written in a text are read as such."""

    def __init__(self, source: Path | str, bos: int) -> None:
        """source: `tokenizer.json`, or the text of one."""
        try:
            text = source if isinstance(source, str) else source.read_text(encoding="utf-8")
            self._tokenizer = read_tokenizer(text)
        except (OSError, ValueError) as error:
            name = source if isinstance(source, Path) else "the definition"
            raise BundleError(f"{name} is not a tokenizer: {error}; export it again") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._bos = bos

    def encode(self, text: str, *, add_bos: bool = True) -> list[int]:
        """Ids of `text`; with `add_bos`, BOS comes first, also where the text writes it itself.

        Raises InvalidTextError for lone surrogates, which no UTF-8 text holds.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"character {error.start} is the lone surrogate U+{ord(text[error.start]):04X}; "
                "expected text that was decoded from UTF-8 or well-formed UTF-16"
            ) from error
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if add_bos and ids[:1] != [self._bos]:
            ids.insert(0, self._bos)
        return ids

    @cached_property
    def special(self) -> tuple[str, ...]:
        """Texts of all special tokens, longest first."""
        added = self._tokenizer.get_added_tokens_decoder().values()
        texts = (token.content for token in added if token.special)
        return tuple(sorted(texts, key=len, reverse=True))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens; broken characters become U+FFFD."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def stream(self) -> "TextStream":
        """Begin a stream that turns ids into text one by one."""
        return TextStream(self._tokenizer)


class TextStream:
    """Ids in, pieces of text out; the pieces joined are the text of all ids."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._held: list[int] = []

    def add(self, token: int) -> str:
        """Take `token`; the text that it completes, empty while a character is not whole."""
        self._held.append(token)
        piece = self._stream.step(self._tokenizer, token)
        if not piece:
            return ""
        self._held.clear()
        return piece

    def flush(self) -> str:
        """End the text: what is held back, with U+FFFD for a character that never became whole."""
        rest = self._tokenizer.decode(self._held, skip_special_tokens=True)
        self._held.clear()
        self._stream = DecodeStream(skip_special_tokens=True)
        return rest


class StopStrings:
    """Holds back the end of a text that may become a stop string.

    Raises OptionError for an empty one, which would stop everything.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        if "" in strings:
            raise OptionError("a stop string is empty; expected at least one character")
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    @property
    def holds(self) -> bool:
        """Whether text waits for what comes next."""
        return bool(self._held)

    def add(self, piece: str) -> str:
        """Text that is now sure to come before any stop string; sets `found` at the first one."""
        text = self._held + piece
        at = min((i for stop in self._strings if (i := text.find(stop)) >= 0), default=-1)
        if at >= 0:
            self._held, self.found = "", True
            return text[:at]
        kept = max((_overlap(text, stop) for stop in self._strings), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """End the text: what was held back is part of it after all."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
