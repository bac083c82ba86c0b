"""A language by any of its names, and the variant of Tiny Aya that is tuned for it."""

import json
from pathlib import Path

import pytest

from tinyaya.export.languages.table import LANGUAGES
from tinyaya.export.languages.variants import (
    VARIANTS,
    own_name,
    recommend,
    resolve_language,
    resolve_languages,
    variant_note,
    variant_of,
)
from tinyaya.runtime.errors import OptionError


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("sw", "sw"),
        ("SW", "sw"),
        ("swa", "sw"),
        ("swh", "sw"),
        ("sw-KE", "sw"),
        ("Kiswahili", "sw"),
        ("swahili", "sw"),
        ("हिन्दी", "hi"),
        ("hin", "hi"),
        ("日本語", "ja"),
        ("zh-TW", "zh-Hant"),
        ("zh-Hans", "zh"),
        ("cmn", "zh"),
        ("Traditional Chinese", "zh-Hant"),
        ("yue", "yue"),
        ("no", "nb"),
        ("iw", "he"),
        ("fil", "tl"),
        ("Tagalog", "tl"),
        ("pes", "fa"),
        ("Bengali", "bn"),
        ("Bangla", "bn"),
        ("pcm", "pcm"),
        ("pt-BR", "pt"),
    ],
)
def test_a_language_is_found_by_any_of_its_names(name: str, code: str) -> None:
    assert resolve_language(name).code == code


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_is_found_by_code_and_both_names(code: str) -> None:
    language = LANGUAGES[code]
    for name in (code, language.name, language.name.upper(), own_name(language)):
        assert resolve_language(name) == language


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Swahilli", "nearest: Swahili (sw)"),
        ("Hidni", "Hindi (hi)"),
        ("qqq", "see `tinyaya-export variants`"),
        ("Klingon", "none of the 70 languages"),
        ("so", "none of the 70 languages"),
        ("af", "none of the 70 languages"),
        ("x-y--z", "none of the 70 languages"),
    ],
)
def test_unknown_languages_are_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        resolve_language(name)
    assert words in str(caught.value)


def test_lists_are_read_once_each_and_in_order() -> None:
    assert [row.code for row in resolve_languages("en, sw,Kiswahili,,hi")] == ["en", "sw", "hi"]
    with pytest.raises(OptionError, match="no language is named"):
        resolve_languages(" , ")


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        ("sw", "earth"),
        ("sw,en", "earth"),
        ("ar,am", "earth"),
        ("hi,ta,en", "fire"),
        ("en", "water"),
        ("de,ja", "water"),
        ("hi,sw", "global"),
        ("yue", "water"),
        ("pcm", "earth"),
    ],
)
def test_recommendation(names: str, variant: str) -> None:
    assert recommend(resolve_languages(names)).name == variant


def test_every_language_belongs_to_one_regional_variant() -> None:
    regional = [row.code for name in ("earth", "fire", "water") for row in VARIANTS[name].languages]
    assert sorted(regional) == sorted(LANGUAGES)
    assert len(VARIANTS) == 5
    assert {row.code for row in VARIANTS["fire"].languages} == {
        "te",
        "mr",
        "bn",
        "ta",
        "hi",
        "pa",
        "gu",
        "ur",
        "ne",
    }


@pytest.mark.parametrize(
    ("path", "variant"),
    [
        ("tiny-aya-earth", "earth"),
        ("models--CohereLabs--tiny-aya-global/snapshots/af89d219", "global"),
        ("Tiny-Aya-Base-32K", "base"),
        ("mine", None),
    ],
)
def test_a_folder_says_which_variant_it_is(tmp_path: Path, path: str, variant: str | None) -> None:
    folder = tmp_path / path
    folder.mkdir(parents=True)
    assert variant_of(folder) == (VARIANTS[variant] if variant else None)


def test_a_config_says_which_variant_it_is(tmp_path: Path) -> None:
    config = {"_name_or_path": "CohereLabs/tiny-aya-fire"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = variant_of(tmp_path)
    assert found and found.name == "fire"


def test_notes_on_the_variant(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-aya-global"
    folder.mkdir()
    swahili = resolve_languages("sw,en")
    note = variant_note(folder, swahili)
    assert note and "is tiny-aya-global; for sw, en take tiny-aya-earth" in note
    assert variant_note(folder, resolve_languages("sw,hi")) is None
    note = variant_note(tmp_path, swahili)
    assert note and "does not say which variant" in note
