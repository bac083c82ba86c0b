"""Which characters languages need, and which bytes a token may hold of them."""

import pytest

from tinyaya.export.languages.scripts import COMMON_SCRIPTS, Characters, scripts_of
from tinyaya.export.languages.table import LANGUAGES


@pytest.mark.parametrize(
    ("code", "scripts"),
    [
        ("sw", "Latn"),
        ("hi", "Deva"),
        ("ja", "Hani Hira Kana"),
        ("ko", "Hang Hani"),
        ("zh", "Hani"),
        ("zh-Hant", "Hani Bopo"),
        ("yue", "Hani Bopo"),
        ("sr", "Cyrl Latn"),
        ("ur", "Arab"),
        ("pa", "Guru"),
        ("am", "Ethi"),
        ("my", "Mymr"),
    ],
)
def test_scripts_of_languages(code: str, scripts: str) -> None:
    assert scripts_of(code) == set(scripts.split())


def test_every_language_has_a_script_that_is_not_common() -> None:
    for code in LANGUAGES:
        assert scripts_of(code) and not scripts_of(code) & set(COMMON_SCRIPTS)
        assert Characters.of_scripts(scripts_of(code)).characters


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("नमस्ते".encode(), True),
        (" नमः, 12".encode(), True),
        ("न".encode()[:1], True),
        ("न".encode()[:2], True),
        ("न".encode()[1:2], True),
        ("न".encode()[1:], True),
        ("न".encode()[2:] + "म".encode()[:2], True),
        ("👋".encode()[1:3], True),
        ("กา".encode(), False),
        (b" the", False),
        ("न".encode() + b"a", False),
        (b"a" + "न".encode()[:2], False),
        ("ก".encode()[:2] + b"a", False),
        ("я".encode()[:1], False),
        ("𓀀".encode()[1:] + b"1", False),
        (b"\xff", False),
        (b"\x80\x80\x80\x80", False),
        (b"", False),
    ],
)
def test_what_a_hindi_text_may_hold(token: bytes, expected: bool) -> None:
    characters = Characters.of_scripts({*COMMON_SCRIPTS, *scripts_of("hi")})
    assert characters.may_hold(token) is expected


@pytest.mark.parametrize("code", ["hi", "ja", "sw"])
def test_every_slice_of_an_own_text_may_be_held(code: str) -> None:
    characters = Characters.of_scripts({*COMMON_SCRIPTS, *scripts_of(code)})
    own = {"hi": "क्ष 1, “आ” 👋🏽", "ja": "日本、カナと かな。１", "sw": "ng’ombe ñandú"}[code]
    held = own.encode()
    for start in range(len(held)):
        for end in range(start + 1, len(held) + 1):
            assert characters.may_hold(held[start:end])
