"""Text to ids and back: exactly one BOS, and no character is ever split."""

import random
from pathlib import Path

import pytest
from tiny_bundle import BOS, EOS, byte_ids

from tinyaya.runtime import InvalidTextError, Tokenizer, open_bundle


@pytest.fixture
def tokenizer(folder: Path) -> Tokenizer:
    return open_bundle(folder).tokenizer


@pytest.mark.parametrize("text", ["hi", "<BOS>hi"])
def test_exactly_one_bos(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text) == [BOS, *byte_ids("hi")]


def test_without_bos(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("hi", add_bos=False) == byte_ids("hi")
    assert tokenizer.encode("", add_bos=True) == [BOS]


def test_specials_in_a_text_are_specials_and_have_no_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a<EOS>b", add_bos=False)
    assert ids == [*byte_ids("a"), EOS, *byte_ids("b")]
    assert tokenizer.decode(ids) == "ab"


@pytest.mark.parametrize(
    "text", ["a\ud800b", "\udfff", b"caf\xe9".decode("utf-8", "surrogateescape")]
)
def test_lone_surrogates_are_refused(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(InvalidTextError, match=r"lone surrogate U\+D"):
        tokenizer.encode(text)


def test_settings_in_the_file_that_would_cut_or_fill_are_off(folder: Path) -> None:
    from tiny_bundle import byte_tokenizer

    cutting = byte_tokenizer()
    cutting.enable_truncation(4)
    cutting.enable_padding(length=9)
    cutting.save(str(folder / "cutting.json"))
    assert Tokenizer(folder / "cutting.json", BOS).encode("abcdef") == [BOS, *byte_ids("abcdef")]


@pytest.mark.parametrize(
    "text", ["héllo", "日本語", "नमस्ते", "👩‍👩‍👧‍👦 ok", "\u200d\ufe0f", "plain"]
)
def test_a_stream_never_splits_a_character(tokenizer: Tokenizer, text: str) -> None:
    stream = tokenizer.stream()
    pieces = [stream.add(token) for token in byte_ids(text)]
    assert [piece for piece in pieces if piece] == list(text)
    assert stream.flush() == ""


def test_a_stream_flushes_what_never_became_whole(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream()
    assert [stream.add(token) for token in byte_ids("a日")[:3]] == ["a", "", ""]
    assert stream.flush() == "\ufffd"
    assert stream.flush() == ""
    assert stream.add(byte_ids("b")[0]) == "b"


def test_pieces_of_any_bytes_join_to_the_text(tokenizer: Tokenizer) -> None:
    source = random.Random(0)
    for _ in range(300):
        ids = [source.randrange(261) for _ in range(20)]
        stream = tokenizer.stream()
        pieces = "".join(stream.add(token) for token in ids)
        assert pieces + stream.flush() == tokenizer.decode(ids)
