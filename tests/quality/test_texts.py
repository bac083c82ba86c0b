"""Texts by language: what is shipped is split in two for good, and sequences are fair."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import NANO
from tinyaya.export.bundle.tokenizer_proof import golden_tokens
from tinyaya.export.errors import CalibrationError
from tinyaya.export.languages.table import LANGUAGES, find_language
from tinyaya.export.languages.texts import (
    calibration_texts,
    evaluation_texts,
    sequences_of,
    weights_of,
)
from tinyaya.export.source.tokenizer import hugging_face_encoder
from tinyaya.runtime.errors import OptionError

_SHARED = 0.02  # of paragraphs; formulas such as "Whereas" come in both halves


def paragraphs(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip()}


def test_calibration_and_evaluation_never_share_a_paragraph() -> None:
    calibration, evaluation = calibration_texts(None), evaluation_texts(None)
    assert calibration.keys() == evaluation.keys() and len(calibration) == 67
    for code, text in calibration.items():
        assert not paragraphs(text) & paragraphs(evaluation[code]), code
        assert len(text) > 1000 < len(evaluation[code])


def test_no_run_of_words_of_the_evaluation_is_in_the_calibration() -> None:
    """Twelve words in a row would be a sentence that came twice."""
    for code, text in evaluation_texts(None).items():
        words, other = text.split(), calibration_texts(None)[code].split()
        runs = {tuple(other[at : at + 12]) for at in range(len(other) - 11)}
        twice = [at for at in range(len(words) - 11) if tuple(words[at : at + 12]) in runs]
        assert not twice, (code, words[twice[0] : twice[0] + 12])


def test_cache_scales_come_from_no_evaluation_text() -> None:
    lines = {line for text in evaluation_texts(None).values() for line in paragraphs(text)}
    for name, row in golden_tokens(hugging_face_encoder(NANO)).items():
        assert row["text"].strip() not in lines, name


def test_every_shipped_language_has_a_name_and_a_region() -> None:
    for code in calibration_texts(None):
        assert find_language(code).name and find_language(code).region
    assert len(LANGUAGES) >= 70
    assert find_language("sw").name == "Swahili"
    with pytest.raises(OptionError, match="'xx'; known: am, ar"):
        find_language("xx")


def test_sequences_hold_each_language_alike() -> None:
    texts = {"a": [1] * 5, "b": [2] * 500, "c": [3] * 40}
    rows = sequences_of(texts, bos=0, length=31, total=90)
    assert [len(row) for row in rows] == [31, 31, 31]
    assert all(row[0] == 0 for row in rows)
    assert Counter(token for row in rows for token in row[1:]) == {1: 30, 2: 30, 3: 30}


def test_chosen_languages_have_their_share() -> None:
    texts = {code: [index] * 500 for index, code in enumerate("abcdef", start=1)}
    weights = weights_of(["b", "x", "e"], texts, 0.5)
    rows = sequences_of(texts, bos=0, length=11, total=800, weights=weights)
    found = Counter(token for row in rows for token in row[1:])
    assert found == {1: 100, 2: 200, 3: 100, 4: 100, 5: 200, 6: 100}
    assert weights_of([], texts, 0.5) == weights_of(["x"], texts, 0.5) == {}
    assert weights_of(list("abcdef"), texts, 0.5) == {}
    assert weights_of(list("abcde"), texts, 0.5) == dict.fromkeys("abcde", 1.0)  # never fewer


def test_a_language_without_text_is_named() -> None:
    with pytest.raises(CalibrationError, match="text of b is empty"):
        sequences_of({"a": [1], "b": []}, bos=0, length=4, total=8)


def test_folders_of_texts(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"holds no <language>\.txt"):
        calibration_texts(tmp_path)
    (tmp_path / "sw.txt").write_text("Habari", encoding="utf-8")
    assert calibration_texts(tmp_path) == evaluation_texts(tmp_path) == {"sw": "Habari"}
    (tmp_path / "xx.txt").write_text("?", encoding="utf-8")
    with pytest.raises(OptionError, match="'xx'"):
        calibration_texts(tmp_path)
    (tmp_path / "xx.txt").rename(tmp_path / "en.txt").write_bytes(b"\xff")
    with pytest.raises(OptionError, match="expected UTF-8"):
        evaluation_texts(tmp_path)
