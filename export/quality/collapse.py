"""Finds continuations that lost their way where another model's did not."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

_MAX_LOOP_PERIOD = 6
_MIN_LOOP_TOKENS = 12  # a loop fills at least so many of the last tokens
_MIN_COPIED_TOKENS = 8
_MIN_LETTERS = 8  # fewer do not tell a script


def collapsed(
    prompt: Sequence[int], reference: Sequence[int], found: Sequence[int], texts: tuple[str, str]
) -> bool:
    """Whether `found` loops, copies its prompt, or is in another script, and `reference` is not.

    texts: of reference and found.
    """
    if loops(found) and not loops(reference):
        return True
    if copies(prompt, found) and not copies(prompt, reference):
        return True
    scripts = [script_of(text) for text in texts]
    return None not in scripts and scripts[0] != scripts[1]


def loops(ids: Sequence[int]) -> bool:
    """Whether the end repeats itself with a short period."""
    tail = list(ids[-_MIN_LOOP_TOKENS:])
    if len(tail) < _MIN_LOOP_TOKENS:
        return False
    return any(tail[period:] == tail[:-period] for period in range(1, _MAX_LOOP_PERIOD + 1))


def copies(prompt: Sequence[int], ids: Sequence[int]) -> bool:
    """Whether so many tokens in a row stand in the prompt, too."""
    runs = {
        tuple(prompt[start : start + _MIN_COPIED_TOKENS])
        for start in range(len(prompt) - _MIN_COPIED_TOKENS + 1)
    }
    starts = range(len(ids) - _MIN_COPIED_TOKENS + 1)
    return any(tuple(ids[start : start + _MIN_COPIED_TOKENS]) in runs for start in starts)


def script_of(text: str) -> str | None:
    """The script of most letters, as Unicode names begin (LATIN, CYRILLIC ...); None: too few."""
    names = Counter(
        unicodedata.name(char, "?").split(" ")[0].split("-")[0] for char in text if char.isalpha()
    )
    if names.total() < _MIN_LETTERS:
        return None
    for kana in ("HIRAGANA", "KATAKANA"):  # written together with Chinese characters
        names["CJK"] += names.pop(kana, 0)
    return names.most_common(1)[0][0]
