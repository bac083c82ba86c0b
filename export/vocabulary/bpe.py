"""Reads a byte-level BPE tokenizer: tokens as bytes, merges, and its parts by some ids.

Merges are pairs of tokens; the rank of a merge is its place, and of equal places none exist.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tinyaya.export.errors import TokenizerError
from tinyaya.runtime.tokenizer import read_tokenizer

_PRINTABLE_BYTES = (
    *range(ord("!"), ord("~") + 1),
    *range(ord("¡"), ord("¬") + 1),
    *range(ord("®"), 256),
)


def _byte_characters() -> dict[str, int]:
    """The characters that stand for bytes in a byte-level tokenizer's file."""
    others = (byte for byte in range(256) if byte not in _PRINTABLE_BYTES)
    return {chr(byte): byte for byte in _PRINTABLE_BYTES} | {
        chr(256 + index): byte for index, byte in enumerate(others)
    }


BYTE_CHARACTERS: Mapping[str, int] = _byte_characters()


@dataclass(frozen=True)
class BytePairs:
    """A byte-level BPE tokenizer; raises TokenizerError for one of another kind.

    ids: token -> id, added tokens among them. added: contents of added tokens. merges: in order.
    """

    definition: Mapping[str, Any]
    ids: Mapping[str, int]
    added: frozenset[str]
    merges: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> "BytePairs":
        """Read a parsed `tokenizer.json`."""
        _check_kind(definition)
        model, added = definition["model"], definition.get("added_tokens") or ()
        merges = [_pair(merge) for merge in model["merges"]]
        ids = {**model["vocab"], **{row["content"]: row["id"] for row in added}}
        _check_ids(ids)
        return cls(definition, ids, frozenset(row["content"] for row in added), merges)

    @cached_property
    def tokens(self) -> Mapping[int, str]:
        """Id -> token."""
        return {id_: token for token, id_ in self.ids.items()}

    @cached_property
    def parts(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        """Token -> the pairs that are merged to it, first merges first."""
        parts: dict[str, list[tuple[str, str]]] = {}
        for pair in self.merges:
            parts.setdefault("".join(pair), []).append(pair)
        return parts

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """Token -> rank of the first merge that leads to it; frequent tokens have low ranks."""
        ranks: dict[str, int] = {}
        for rank, pair in enumerate(self.merges):
            ranks.setdefault("".join(pair), rank)
        return ranks

    def bytes_of(self, token: str) -> bytes | None:
        """What the token stands for; None for one that no bytes make."""
        if any(char not in BYTE_CHARACTERS for char in token):
            return None
        return bytes(BYTE_CHARACTERS[char] for char in token)

    def closed(self, tokens: Iterable[str]) -> set[str]:
        """`tokens` and all that merges make them of, so that every way to them stays."""
        found: set[str] = set()
        left = list(tokens)
        while left:
            token = left.pop()
            if token not in found:
                found.add(token)
                left += (part for pair in self.parts.get(token, ()) for part in pair)
        return found

    def trimmed(self, kept: Sequence[int]) -> dict[str, Any]:
        """The definition with the ids `kept` alone, which get new ones in their order.

        kept: ascending, every added token among them. Raises TokenizerError if Hugging Face's
        library gives any token another id.
        """
        new, definition = {old: row for row, old in enumerate(kept)}, self.definition
        model, named = definition["model"], self.ids
        vocab = {token: new[id_] for token, id_ in model["vocab"].items() if id_ in new}
        merges = [
            merge
            for merge, pair in zip(model["merges"], self.merges, strict=True)
            if named.get("".join(pair)) in new
        ]
        added = [{**row, "id": new[row["id"]]} for row in definition.get("added_tokens") or ()]
        trimmed = {
            **definition,
            "added_tokens": sorted(added, key=lambda row: row["id"]),
            "post_processor": _renumbered(definition.get("post_processor"), new),
            "model": {**model, "vocab": vocab, "merges": merges},
        }
        _check_loads(definition, named)
        _check_loads(trimmed, {token: new[id_] for token, id_ in named.items() if id_ in new})
        return trimmed


def _pair(merge: object) -> tuple[str, str]:
    """A merge is a pair, or in older files a string with a space between."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2:
        raise TokenizerError(f"tokenizer.json holds the merge {merge!r}; expected two tokens")
    return str(parts[0]), str(parts[1])


def _check_kind(definition: Mapping[str, Any]) -> None:
    model = definition["model"]
    steps = [definition.get("pre_tokenizer") or {}]
    steps += steps[0].get("pretokenizers") or []
    missing = sum(char not in model["vocab"] for char in BYTE_CHARACTERS)
    for found in (
        "no ByteLevel step" if not any(step.get("type") == "ByteLevel" for step in steps) else "",
        f"no token for {missing} of the 256 bytes" if missing else "",
        *(
            f"{key} = {model[key]!r}"
            for key in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
            if model.get(key)
        ),
    ):
        if found:
            raise TokenizerError(
                f"tokenizer.json has {found}: it is no byte-level BPE, so its vocabulary cannot "
                "be trimmed; leave --languages out"
            )


def _check_ids(ids: Mapping[str, int]) -> None:
    if len(set(ids.values())) < len(ids):
        raise TokenizerError(
            "tokenizer.json gives one id to several tokens, so its vocabulary cannot be trimmed; "
            "leave --languages out"
        )


def _renumbered(step: Any, new: Mapping[int, int]) -> Any:
    """A post-processor whose templates name the new ids."""
    if not step:
        return step
    kind = step.get("type")
    if kind == "Sequence":
        return {**step, "processors": [_renumbered(row, new) for row in step["processors"]]}
    if kind == "TemplateProcessing":
        special = step["special_tokens"]
        if lost := [name for name, row in special.items() if not {*row["ids"]} <= new.keys()]:
            raise TokenizerError(
                f"tokenizer.json has {lost[0]!r} in its post-processor with ids that no token has, "
                "so its vocabulary cannot be trimmed; leave --languages out"
            )
        special = {
            name: {**row, "ids": [new[id_] for id_ in row["ids"]]} for name, row in special.items()
        }
        return {**step, "special_tokens": special}
    if kind == "ByteLevel":
        return step
    raise TokenizerError(
        f"tokenizer.json has the post-processor {kind!r}, which trimming does not know; "
        "leave --languages out"
    )


def _check_loads(definition: Mapping[str, Any], expected: Mapping[str, int]) -> None:
    """The library numbers added tokens outside of the vocabulary itself, in their order."""
    try:
        found = read_tokenizer(json.dumps(definition, ensure_ascii=False))
    except ValueError as error:
        raise TokenizerError(f"tokenizer.json cannot be read: {error}") from error
    if found.get_vocab(with_added_tokens=True) != dict(expected):
        raise TokenizerError(
            "tokenizer.json has added tokens at ids that Hugging Face's library does not give "
            "them, so its vocabulary cannot be trimmed; leave --languages out"
        )
