"""A folder of <language>.txt in, texts by language out; what is shipped is split in two for good.

The Universal Declaration of Human Rights, one paragraph a line: its first articles are for
calibration, the others for evaluation, the same in all languages.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from export.errors import CalibrationError, OptionsError
from export.languages import find_language

Texts = Mapping[str, str]

_SHIPPED = "udhr"
_CALIBRATION_SHARE = 0.6


def calibration_texts(folder: Path | None) -> Texts:
    """Texts of `folder`, or the first articles of what is shipped; raises OptionsError."""
    return _read(folder) if folder else {code: _split(text)[0] for code, text in _shipped()}


def evaluation_texts(folder: Path | None) -> Texts:
    """Texts of `folder`, or the last articles of what is shipped; raises OptionsError."""
    return _read(folder) if folder else {code: _split(text)[1] for code, text in _shipped()}


def texts_of(codes: Sequence[str], folder: Path | None) -> Texts:
    """Texts of languages to choose tokens by: first articles of what is shipped, and `folder`'s.

    Languages without any are left out; raises OptionsError.
    """
    shipped, added = calibration_texts(None), _read(folder) if folder else {}
    found = {code: shipped.get(code, "") + added.get(code, "") for code in codes}
    return {code: text for code, text in found.items() if text.strip()}


def _shipped() -> Sequence[tuple[str, str]]:
    folder = files("export") / _SHIPPED
    found = (path for path in folder.iterdir() if path.name.endswith(".txt"))
    return sorted((path.name.removesuffix(".txt"), path.read_text("utf-8")) for path in found)


def _split(text: str) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    middle = round(len(lines) * _CALIBRATION_SHARE)
    return "".join(lines[:middle]), "".join(lines[middle:])


def _read(folder: Path) -> Texts:
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise OptionsError(f"{folder} holds no <language>.txt; expected files such as sw.txt")
    texts = {}
    for path in paths:
        find_language(path.stem)
        try:
            texts[path.stem] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionsError(f"{path}: cannot read: {error}; expected UTF-8 text") from error
    return texts


def sequences_of(
    texts: Mapping[str, Sequence[int]], bos: int, length: int, total: int
) -> list[list[int]]:
    """Sequences of `length` ids, some `total` in all, that hold the same number of each language.

    texts: ids by language; one that is shorter than its share is repeated. Sequences begin with
    `bos`; a language stays together. Raises CalibrationError for a language without text.
    """
    share, ids = -(-total // len(texts)), []
    for code in sorted(texts):
        if not texts[code]:
            raise CalibrationError(f"the calibration text of {code} is empty; leave it out")
        repeats = -(-share // len(texts[code]))
        ids += (list(texts[code]) * repeats)[:share]
    rows = range(0, len(ids) - length + 2, length - 1)
    return [[bos, *ids[start : start + length - 1]] for start in rows]
