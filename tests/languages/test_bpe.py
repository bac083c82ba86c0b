"""A tokenizer in parts: what merges lead to a token, and what cannot be trimmed."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.conftest import NANO
from tinyaya.export.errors import TokenizerError
from tinyaya.export.vocabulary.bpe import BYTE_CHARACTERS, BytePairs


@pytest.fixture
def definition() -> dict[str, Any]:
    """Of the small trained model, to be changed."""
    read: dict[str, Any] = json.loads((NANO / "tokenizer.json").read_text(encoding="utf-8"))
    return read


def small(merges: list[Any], **others: Any) -> dict[str, Any]:
    """A tokenizer of bytes and those merges."""
    tokens = ["".join(pair.split(" ") if isinstance(pair, str) else pair) for pair in merges]
    vocab = {token: index for index, token in enumerate(dict.fromkeys([*BYTE_CHARACTERS, *tokens]))}
    return {
        "added_tokens": [],
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
        **others,
    }


def test_bytes_are_those_of_the_library(definition: dict[str, Any]) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert set(BYTE_CHARACTERS) == set(ByteLevel.alphabet())
    assert sorted(BYTE_CHARACTERS.values()) == list(range(256))
    assert BytePairs.of(definition).bytes_of("Ġà¤") == b" \xe0\xa4"
    assert BytePairs.of(definition).bytes_of("日") is None


def test_all_ways_to_a_token_stay() -> None:
    pairs = BytePairs.of(small(["a b", "b c", "ab c", "a bc", "x y"]))
    assert pairs.closed(["abc"]) == {"abc", "ab", "bc", "a", "b", "c"}
    assert pairs.ranks["abc"] == 2
    kept = sorted(pairs.ids[token] for token in pairs.closed(["abc"]) | set(BYTE_CHARACTERS))
    trimmed = pairs.trimmed(kept)
    assert trimmed["model"]["merges"] == ["a b", "b c", "ab c", "a bc"]
    assert "xy" not in trimmed["model"]["vocab"]


def test_merges_keep_their_form() -> None:
    pairs = BytePairs.of(small([["a", "b"], ["x", "y"]]))
    kept = [*range(256), 256]
    assert pairs.trimmed(kept)["model"]["merges"] == [["a", "b"]]


def added(content: str, id_: int, **others: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id_, "content": content, "special": True, **flags, **others}


def test_added_tokens_behind_the_vocabulary_follow_it() -> None:
    pairs = BytePairs.of(
        small(["a b", "x y"], added_tokens=[added("<e>", 258), added("<f>", 259, special=False)])
    )
    trimmed = pairs.trimmed([*range(257), 258, 259])
    assert [row["id"] for row in trimmed["added_tokens"]] == [257, 258]
    encoded = Tokenizer.from_str(json.dumps(trimmed)).encode("ab<e>xy<f>").ids
    assert encoded == [256, 257, BYTES_ID["x"], BYTES_ID["y"], 258]


BYTES_ID = {token: index for index, token in enumerate(BYTE_CHARACTERS)}


def test_added_tokens_in_the_middle_stay_there() -> None:
    definition = small(["a b", "<x >", "c d"])
    definition["model"]["vocab"]["<x>"] = definition["model"]["vocab"].pop("<x>")
    definition["model"]["merges"] = ["a b", "c d"]
    definition["added_tokens"] = [added("<x>", 257)]
    trimmed = BytePairs.of(definition).trimmed([*range(256), 257, 258])
    assert trimmed["added_tokens"][0]["id"] == 256
    assert Tokenizer.from_str(json.dumps(trimmed)).encode("<x>cd").ids == [256, 257]


def test_added_tokens_that_the_library_would_number_otherwise_are_refused() -> None:
    definition = small(["a b", "c d"], added_tokens=[added("<x>", 300), added("<y>", 270)])
    pairs = BytePairs.of(definition)
    with pytest.raises(TokenizerError, match="added tokens"):
        pairs.trimmed([*range(257), 270, 300, 301, 302])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["model"]["vocab"].pop("Ā"), "no token for 1 of the 256 bytes"),
        (lambda d: d["model"].update(byte_fallback=True), "byte_fallback = True"),
        (lambda d: d["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (lambda d: d.update(pre_tokenizer={"type": "Metaspace"}), "no ByteLevel step"),
        (lambda d: d.update(pre_tokenizer=None), "no ByteLevel step"),
        (lambda d: d["model"]["vocab"].update(zzz=300), "one id to several"),
        (lambda d: d["model"]["merges"].append("abc"), "the merge 'abc'"),
        (lambda d: d["model"]["merges"].append(7), "the merge 7"),
    ],
)
def test_other_kinds_are_refused(definition: dict[str, Any], change: Any, words: str) -> None:
    change(definition)
    with pytest.raises(TokenizerError, match=words):
        BytePairs.of(definition)


def test_unknown_post_processors_are_refused(definition: dict[str, Any]) -> None:
    definition["post_processor"] = {"type": "BertProcessing", "sep": ["x", 1], "cls": ["y", 2]}
    with pytest.raises(TokenizerError, match="BertProcessing"):
        BytePairs.of(definition).trimmed(range(300))


def test_templates_get_new_ids() -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
        ],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [258], "tokens": ["<s>"]}},
    }
    flags = dict.fromkeys(("add_prefix_space", "trim_offsets", "use_regex"), False)
    steps = {"type": "Sequence", "processors": [{"type": "ByteLevel", **flags}, template]}
    pairs = BytePairs.of(
        small(["a b", "x y"], added_tokens=[added("<s>", 258)], post_processor=steps)
    )
    trimmed = pairs.trimmed([*range(257), 258])
    assert Tokenizer.from_str(json.dumps(trimmed)).encode("ab").ids == [257, 256]


@st.composite
def grown_merges(draw: st.DrawFn) -> list[list[str]]:
    """Merges over few letters, each of tokens made before, so that many ways lead to one token."""
    tokens, merges = ["a", "b", "c"], []
    for _ in range(draw(st.integers(1, 14))):
        pair = [draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))]
        if pair not in merges:
            merges.append(pair)
            tokens = list(dict.fromkeys([*tokens, "".join(pair)]))
    return merges


@given(grown_merges(), st.data())
@settings(max_examples=400, deadline=None)
def test_any_tokenizer_keeps_the_tokens_of_texts_that_lose_none(
    merges: list[list[str]], data: st.DataObject
) -> None:
    pairs = BytePairs.of(small(merges))
    made = sorted({"".join(pair) for pair in merges})
    wanted = data.draw(st.lists(st.sampled_from(made), unique=True))
    kept = sorted(pairs.ids[token] for token in pairs.closed(wanted) | set(BYTE_CHARACTERS))
    new = {old: row for row, old in enumerate(kept)}
    whole, own = (
        Tokenizer.from_str(json.dumps(each)) for each in (pairs.definition, pairs.trimmed(kept))
    )
    text = data.draw(st.text("abc", max_size=24))
    before, after = whole.encode(text).ids, own.encode(text).ids
    assert own.decode(after) == text
    if all(id_ in new for id_ in before):
        assert after == [new[id_] for id_ in before]
