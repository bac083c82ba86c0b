"""Lists the characters that a language's texts are made of, whole or as bytes of UTF-8.

Scripts are those of Unicode, in the codes of ISO 15924; a language's is the CLDR's likely one.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from fontTools.unicodedata import Scripts
from langcodes import Language as Tag

# What all scripts share: digits, punctuation, symbols and emoji; marks that follow any letter.
COMMON_SCRIPTS = ("Zyyy", "Zinh")
_PARTS_OF_SCRIPTS = {
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
    "Hans": ("Hani",),
    "Hant": ("Hani", "Bopo"),
}
_SECOND_SCRIPTS = {"sr": ("Latn",)}  # written in either, by the same people
_UNICODE_END, _LAST_ONE_BYTE_CHARACTER = 0x110000, 0x7F
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))  # bytes that begin no character


def scripts_of(code: str) -> frozenset[str]:
    """Scripts that texts of the language are written in, without those that all share."""
    likely = Tag.get(code, normalize=False).maximize().script or "Latn"
    return frozenset((*_PARTS_OF_SCRIPTS.get(likely, (likely,)), *_SECOND_SCRIPTS.get(code, ())))


@dataclass(frozen=True)
class Characters:
    """A set of characters; fragments: the bytes that a token may hold of one of them."""

    characters: frozenset[str]
    prefixes: frozenset[bytes]
    infixes: frozenset[bytes]
    suffixes: frozenset[bytes]

    @classmethod
    def of_scripts(cls, scripts: Iterable[str]) -> "Characters":
        """Characters of those scripts."""
        found = frozenset(_characters(frozenset(scripts)))
        encoded = [char.encode() for char in found if ord(char) > _LAST_ONE_BYTE_CHARACTER]
        prefixes = {text[:end] for text in encoded for end in range(1, len(text))}
        return cls(
            characters=found,
            prefixes=frozenset(prefixes),
            infixes=frozenset(text[start:] for text in prefixes for start in range(1, len(text))),
            suffixes=frozenset(text[start:] for text in encoded for start in range(1, len(text))),
        )

    def may_hold(self, token: bytes) -> bool:
        """Whether a text of these characters alone can hold the token's bytes."""
        rest = token.lstrip(_CONTINUATION_BYTES)
        head = token[: len(token) - len(rest)]
        if not rest:
            return head in self.infixes or head in self.suffixes
        try:
            text, used = codecs.utf_8_decode(rest, "strict", False)  # noqa: FBT003
        except UnicodeDecodeError:
            return False
        return (
            (not head or head in self.suffixes)
            and (used == len(rest) or rest[used:] in self.prefixes)
            and self.characters.issuperset(text)
        )


def _characters(scripts: frozenset[str]) -> Iterator[str]:
    """Every character whose script is one of `scripts`."""
    edges = pairwise((*Scripts.RANGES, _UNICODE_END))
    for (start, end), script in zip(edges, Scripts.VALUES, strict=True):
        if script in scripts:
            yield from map(chr, range(start, end))
