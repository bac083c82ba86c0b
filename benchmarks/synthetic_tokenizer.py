"""Grows a small byte-level BPE tokenizer to Tiny Aya's size by seeded merges.

New tokens are pairs of old ones of the same script, so it is a real tokenizer whose words mean
nothing; scripts share the new tokens as a vocabulary of 70 languages may.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from tinyaya.export.languages.scripts import COMMON_SCRIPTS, Characters
from tinyaya.export.vocabulary.bpe import BYTE_CHARACTERS, BytePairs

TOKEN_COUNT = 261_008  # of Tiny Aya's 262,144 rows these have a token
_MAX_TOKEN_CHARACTERS = 24
_SEED = 0
_LATIN_SCRIPTS = ("Latn",)
# Assumed: shares of the new tokens. The scripts of South Asia have a quarter.
_NEW_TOKEN_SHARES: Mapping[tuple[str, ...], float] = {
    _LATIN_SCRIPTS: 0.43,
    ("Cyrl",): 0.09,
    ("Arab",): 0.07,
    ("Deva",): 0.06,
    ("Beng",): 0.03,
    ("Taml",): 0.03,
    ("Telu",): 0.02,
    ("Gujr",): 0.02,
    ("Guru",): 0.02,
    ("Hani", "Hira", "Kana", "Hang"): 0.12,
    ("Thai",): 0.02,
    ("Ethi",): 0.02,
    ("Grek",): 0.02,
    ("Hebr",): 0.02,
    ("Mymr",): 0.01,
    ("Khmr",): 0.01,
    ("Laoo",): 0.01,
}


def grow_tokenizer(definition: Mapping[str, Any], size: int = TOKEN_COUNT) -> dict[str, Any]:
    """The tokenizer with merges added until it has `size` tokens."""
    pairs = BytePairs.of(definition)
    ids, model = dict(pairs.ids), definition["model"]
    merges = [list(pair) for pair in pairs.merges]
    vocab, missing = dict(model["vocab"]), size - len(ids)
    counts = {scripts: int(missing * share) for scripts, share in _NEW_TOKEN_SHARES.items()}
    counts[_LATIN_SCRIPTS] += missing - sum(counts.values())
    for scripts, count in counts.items():
        for first, second in _new_pairs(pairs, scripts, ids, count):
            ids[first + second] = vocab[first + second] = len(ids)
            merges.append([first, second])
    return {**definition, "model": {**model, "vocab": vocab, "merges": merges}}


def _new_pairs(
    pairs: BytePairs, scripts: tuple[str, ...], taken: Mapping[str, int], count: int
) -> Iterator[tuple[str, str]]:
    """Pairs whose tokens are of these scripts; the caller must take each before the next."""
    characters = Characters.of_scripts({*scripts, *COMMON_SCRIPTS})
    own = Characters.of_scripts(scripts).characters
    letters = [token for token in pairs.ids if _is_word(pairs, token, characters, own)]
    letters += [token for char in sorted(own)[:64] for token in [_spelled(char)] if token in taken]
    random = Random(_SEED + len(scripts) * ord(scripts[0][0]))
    ends = [token for token in letters if not token.startswith("Ġ")]
    grown = list(letters)
    while count:
        first, second = random.choice(grown), random.choice(ends)
        if first + second in taken or len(first + second) > _MAX_TOKEN_CHARACTERS:
            continue
        yield first, second
        grown.append(first + second)
        count -= 1


def _is_word(pairs: BytePairs, token: str, characters: Characters, own: frozenset[str]) -> bool:
    """Whether a token is made of whole characters, some of them of the scripts."""
    held = pairs.bytes_of(token)
    if token in pairs.added or held is None or not characters.may_hold(held):
        return False
    try:
        return not own.isdisjoint(held.decode())
    except UnicodeDecodeError:
        return False


def _spelled(char: str) -> str:
    """A character as a byte-level tokenizer's file writes it."""
    names = {byte: name for name, byte in BYTE_CHARACTERS.items()}
    return "".join(names[byte] for byte in char.encode())
