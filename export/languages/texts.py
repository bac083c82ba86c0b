"""Reads texts by language; those that are shipped are split in two for good.

The Universal Declaration of Human Rights, one paragraph a line: its first articles are for
calibration, the others for evaluation, the same in all languages.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from tinyaya.export.errors import CalibrationError
from tinyaya.export.languages.table import find_language
from tinyaya.runtime.errors import OptionError

Texts = Mapping[str, str]

_SHIPPED_FOLDER = "udhr"
_CALIBRATION_SHARE = 0.6


def calibration_texts(folder: Path | None) -> Texts:
    """Texts of `folder`, or the first articles of what is shipped; raises OptionError."""
    return _read(folder) if folder else {code: _split(text)[0] for code, text in _shipped()}


def evaluation_texts(folder: Path | None) -> Texts:
    """Texts of `folder`, or the last articles of what is shipped; raises OptionError."""
    return _read(folder) if folder else {code: _split(text)[1] for code, text in _shipped()}


def texts_of(codes: Sequence[str], folder: Path | None) -> Texts:
    """Texts of languages to choose tokens by: first articles of what is shipped, and `folder`'s.

    Languages without any are left out; raises OptionError.
    """
    shipped, added = calibration_texts(None), _read(folder) if folder else {}
    found = {code: shipped.get(code, "") + added.get(code, "") for code in codes}
    return {code: text for code, text in found.items() if text.strip()}


def _shipped() -> Sequence[tuple[str, str]]:
    folder = files("tinyaya.export.languages") / _SHIPPED_FOLDER
    found = (path for path in folder.iterdir() if path.name.endswith(".txt"))
    return sorted((path.name.removesuffix(".txt"), path.read_text("utf-8")) for path in found)


def _split(text: str) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    middle = round(len(lines) * _CALIBRATION_SHARE)
    return "".join(lines[:middle]), "".join(lines[middle:])


def _read(folder: Path) -> Texts:
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise OptionError(f"{folder} holds no <language>.txt; expected files such as sw.txt")
    texts = {}
    for path in paths:
        find_language(path.stem)
        try:
            texts[path.stem] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"{path}: cannot read: {error}; expected UTF-8 text") from error
    return texts


def sequences_of(
    texts: Mapping[str, Sequence[int]],
    bos: int,
    length: int,
    total: int,
    weights: Mapping[str, float] | None = None,
) -> list[list[int]]:
    """Sequences of `length` ids, some `total` in all, that hold as much of each language.

    texts: ids by language; one that is shorter than its share is repeated. weights: of languages
    that are to have more, 1 for all others. Sequences begin with `bos`; a language stays together.
    Raises CalibrationError for a language without text.
    """
    weights, ids = weights or {}, []
    unit = total / sum(weights.get(code, 1) for code in texts)
    for code in sorted(texts):
        if not texts[code]:
            raise CalibrationError(f"the calibration text of {code} is empty; leave it out")
        share = math.ceil(unit * weights.get(code, 1))
        repeats = -(-share // len(texts[code]))
        ids += (list(texts[code]) * repeats)[:share]
    rows = range(0, len(ids) - length + 2, length - 1)
    return [[bos, *ids[start : start + length - 1]] for start in rows]


def weights_of(chosen: Sequence[str], codes: Collection[str], share: float) -> dict[str, float]:
    """Weights by which the languages `chosen` have `share` of the text, in equal parts.

    codes: of all languages that there are texts of; chosen ones without any do not count.
    """
    own = [code for code in chosen if code in codes]
    others = len(codes) - len(own)
    if not own or not others:
        return {}
    weight = share / (1 - share) * others / len(own)
    return {code: max(weight, 1.0) for code in own}
