"""Finds the ids that all prompts begin with, and keeps their keys and values in a bundle."""

import gc
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from tinyaya.export.backends.base import Backend
from tinyaya.export.bundle.write import BundleContent, write_draft
from tinyaya.export.options import Limits
from tinyaya.export.source.tokenizer import Tokenizer
from tinyaya.runtime import ChatTemplate, ChatTemplateError
from tinyaya.runtime import Tokenizer as RuntimeTokenizer
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.manifest import Preamble

# What a prompt may go on with: letters of several scripts, digits, spaces, signs.
_CONTINUATIONS = (
    "a", "The", " a", "  b", "\n", "\n\nA", "1", " 22", ".", ", ", "?", "'s", "-", "é", "न", "你",
    "م", "ሰ", "👋",
)  # fmt: skip
_MIN_PREAMBLE_TOKENS = 3  # BOS and two more; less is not worth its place


def longest_preamble(window: int | None, limits: Limits) -> int:
    """Ids that a preamble may have: all in one window, and one fewer than the context."""
    return min(window or limits.context, limits.context - 1)


def find_preamble(tokenizer: Tokenizer, text: str | None, longest: int) -> tuple[int, ...]:
    """Ids that prompts begin with, whatever they go on with; none where that is not worth it.

    text: what prompts begin with; None takes what the chat template always writes, up to
    `longest` ids; "" is no preamble. Raises OptionError for a text of more than `longest` ids,
    and for a template that renders no message.
    """
    if text == "" or (text is None and tokenizer.chat_template is None):
        return ()
    encoder = RuntimeTokenizer(json.dumps(tokenizer.definition), tokenizer.bos)
    if text is None:
        ids = _common([encoder.encode(prompt)[:-1] for prompt in _chats(tokenizer)])[:longest]
    else:
        prompts = [encoder.encode(text + more)[:-1] for more in _CONTINUATIONS]
        ids = _common([encoder.encode(text), *prompts])
    if len(ids) > longest:
        raise OptionError(
            f"the preamble has {len(ids)} tokens; expected at most {longest}: it must not be "
            "longer than the window and must leave room in the context; shorten it"
        )
    return ids if len(ids) >= _MIN_PREAMBLE_TOKENS else ()


def ship_preamble(
    folder: Path, content: BundleContent, backend: Backend, ids: Sequence[int]
) -> BundleContent:
    """Let the program in `folder` compute the preamble and keep it; the content that says so."""
    if not ids:
        return content
    write_draft(folder, content)  # engines open whole bundles
    file = backend.keep_preamble(folder, ids)
    gc.collect()  # its session, as large as the program, is tied in cycles
    return replace(content, preamble=Preamble(ids=tuple(ids), file=file))


def _chats(tokenizer: Tokenizer) -> list[str]:
    """Conversations without a system message, which would take the place of the template's own."""
    assert tokenizer.chat_template is not None
    try:
        template = ChatTemplate(tokenizer.chat_template, tokenizer.config)
        return [template.render([{"role": "user", "content": text}]) for text in _CONTINUATIONS]
    except ChatTemplateError as error:
        raise OptionError(f"no preamble can be found: {error}; add --preamble none") from error


def _common(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """What all rows begin with."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return tuple(column[0] for column in columns)
