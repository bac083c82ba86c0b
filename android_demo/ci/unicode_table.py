"""Hugging Face's tokenizers in, the Unicode classes of its regular expressions out.

Usage: python android_demo/ci/unicode_table.py FILE
"""

import sys
from itertools import pairwise
from pathlib import Path

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

_CLASSES = {
    **{
        name: rf"\p{{{name}}}"
        for name in ("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "Nd", "Nl", "No")
    },
    "P": r"\p{P}",
    "S": r"\p{S}",
    "Z": r"\p{Z}",
    "Han": r"\p{Han}",
    "space": r"\s",
    "word": r"\w",
}
_SURROGATES = range(0xD800, 0xE000)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def main(target: Path) -> None:
    """Write the table to `target`."""
    lines = [
        "# Written by ci/unicode_table.py: a class; how many code points are not and are in it ..."
    ]
    lines += [" ".join([name, *map(_base36, _runs(pattern))]) for name, pattern in _CLASSES.items()]
    target.write_text("\n".join(lines) + "\n", encoding="ascii")


def _runs(pattern: str) -> list[int]:
    """Lengths of the runs of code points outside and inside the class, in turn, from outside."""
    codes = [code for code in range(sys.maxunicode + 1) if code not in _SURROGATES]
    keep_matches = Split(Regex(f"{pattern}+"), "removed", invert=True)
    edges = [0]
    for _, (start, end) in keep_matches.pre_tokenize_str("".join(map(chr, codes))):
        first, last = codes[start], codes[end - 1] + 1
        if edges[-1] == first and len(edges) > 1:
            edges[-1] = last
        else:
            edges += [first, last]
    return [high - low for low, high in pairwise(edges)]


def _base36(value: int) -> str:
    digits = ""
    while value or not digits:
        value, digit = divmod(value, 36)
        digits = _DIGITS[digit] + digits
    return digits


if __name__ == "__main__":
    main(Path(sys.argv[1]))
