"""Trimmed vocabularies on the small trained model: what stays the same, for any text at all."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.conftest import NANO, UDHR
from tests.languages.conftest import SOUTH_ASIA, Trimmed
from tinyaya.export.bundle.tokenizer_proof import golden_tokens, prove_tokenizer
from tinyaya.export.languages.scripts import COMMON_SCRIPTS, Characters, scripts_of
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.export.options import ExportOptions, VocabularyOptions
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.export.source.tokenizer import TOKENIZER_FILE
from tinyaya.export.vocabulary.choose import choose_ids, trimmed
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Silent

COMMON_LETTERS = sorted(Characters.of_scripts(COMMON_SCRIPTS).characters)
OWN_LETTERS = {
    code: sorted(Characters.of_scripts(scripts_of(code)).characters) for code in ("hi", "am", "ru")
}


def library(checkpoint: Checkpoint) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(checkpoint.tokenizer.original))


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


class Pair:
    """A whole tokenizer and a trimmed one, with the map between."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        assert checkpoint.trim
        self.whole, self.own = library(checkpoint.whole), library(checkpoint)
        self.new = {old: row for row, old in enumerate(checkpoint.trim.kept)}

    def check(self, text: str) -> None:
        """The promise, for one text."""
        before, after = ids(self.whole, text), ids(self.own, text)
        assert self.own.decode(after) == self.whole.decode(before) == text
        if all(id_ in self.new for id_ in before):
            assert after == [self.new[id_] for id_ in before]


def no_specials(text: str) -> bool:
    return "<" not in text


@pytest.fixture(scope="module", params=["hi safe", "sw,en tight", "ja safe"])
def pair(request: pytest.FixtureRequest, trimmed_nano: Trimmed) -> Pair:
    codes, keep = request.param.split()
    return Pair(trimmed_nano(*codes.split(","), keep=keep))


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(no_specials))
@settings(max_examples=300, deadline=None)
def test_any_text_of_unicode_comes_back(pair: Pair, text: str) -> None:
    pair.check(text)


UDHR_LINES = [
    line
    for path in sorted(UDHR.glob("*.txt"))
    for line in path.read_text(encoding="utf-8").splitlines()[::9]
]


@given(st.lists(st.sampled_from(UDHR_LINES), min_size=2, max_size=2), st.data())
@settings(max_examples=200, deadline=None)
def test_cuts_of_real_text_come_back(pair: Pair, lines: list[str], data: st.DataObject) -> None:
    joined = "\n".join(lines)
    start = data.draw(st.integers(0, len(joined)))
    pair.check(joined[start : start + data.draw(st.integers(0, 80))])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_safe_keeps_every_token_of_every_text_in_its_scripts(
    trimmed_nano: Trimmed, data: st.DataObject
) -> None:
    code = data.draw(st.sampled_from(sorted(OWN_LETTERS)))
    letters = st.sampled_from(OWN_LETTERS[code]) | st.sampled_from(COMMON_LETTERS)
    text = data.draw(st.text(letters, max_size=30).filter(no_specials))
    pair = Pair(trimmed_nano(code))
    assert all(id_ in pair.new for id_ in ids(pair.whole, text))
    pair.check(text)


@pytest.mark.parametrize("keep", ["safe", "tight"])
def test_texts_in_all_languages_come_back(trimmed_nano: Trimmed, keep: str) -> None:
    pair = Pair(trimmed_nano(*SOUTH_ASIA, keep=keep))
    for path in UDHR.glob("*.txt"):
        pair.check(path.read_text(encoding="utf-8"))


def growth(checkpoint: Checkpoint, code: str) -> float:
    pair, text = Pair(checkpoint), evaluation_texts(None)[code]
    return len(ids(pair.own, text)) / len(ids(pair.whole, text)) - 1


@pytest.mark.parametrize("languages", [SOUTH_ASIA, ("sw", "en"), ("ja",), ("ru", "uk", "bg")])
def test_growth_on_texts_not_used_for_choosing(
    trimmed_nano: Trimmed, languages: Sequence[str]
) -> None:
    safe, tight = (trimmed_nano(*languages, keep=keep) for keep in ("safe", "tight"))
    for code in languages:
        assert growth(safe, code) == 0
        assert growth(tight, code) <= 0.02
    assert tight.config.vocab_size < safe.config.vocab_size < safe.whole.config.vocab_size


def test_others_grow(trimmed_nano: Trimmed) -> None:
    assert growth(trimmed_nano("hi"), "th") > 0.8


def test_code_and_the_chat_template_do_not_grow(trimmed_nano: Trimmed, nano: Checkpoint) -> None:
    from tinyaya.runtime import ChatTemplate

    pair = Pair(trimmed_nano("hi"))
    assert nano.tokenizer.chat_template
    template = ChatTemplate(nano.tokenizer.chat_template, nano.tokenizer.config)
    chat = template.render([{"role": "user", "content": "a"}])
    for text in (chat, "def main(self):\n    return None", '{"name": "value"}'):
        assert all(id_ in pair.new for id_ in ids(pair.whole, text))


def test_a_preamble_of_ones_own_does_not_grow(nano: Checkpoint) -> None:
    text = "Jibu kwa ufupi na kwa ukweli"
    options = VocabularyOptions(languages=("hi",))
    kept = set(choose_ids(nano, options, text))
    assert kept >= set(ids(library(nano), text)) - {0}
    assert not set(choose_ids(nano, options)) >= set(ids(library(nano), text))


def test_special_ids_follow(trimmed_nano: Trimmed, nano: Checkpoint) -> None:
    checkpoint = trimmed_nano("ja")
    assert checkpoint.trim
    kept, whole = checkpoint.trim.kept, nano.tokenizer
    own = checkpoint.tokenizer
    assert [kept[id_] for id_ in own.stop] == list(whole.stop)
    assert (kept[own.bos], kept[own.pad]) == (whole.bos, whole.pad)
    assert own.unused == ((len(kept), checkpoint.config.vocab_size),)
    assert checkpoint.config.vocab_size % 64 == 0


def test_stock_tokenizers_read_it(trimmed_nano: Trimmed, tmp_path: Path) -> None:
    from tinyaya.export.bundle.write import write_tokenizer

    checkpoint = trimmed_nano("hi", "am", keep="tight")
    golden = golden_tokens(checkpoint.tokenizer.encoder())
    folder, scratch = tmp_path / "bundle", tmp_path / "scratch"
    folder.mkdir(), scratch.mkdir()
    write_tokenizer(folder, checkpoint.tokenizer, "onnx")
    found = prove_tokenizer(golden, folder, scratch, "onnx")
    assert found["tokenizers"] == found["pytorch_tokenizers"] == "77 of 77"


class Notes(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def with_languages(*codes: str, keep: str = "safe", texts: Path | None = None) -> ExportOptions:
    chosen = VocabularyOptions(languages=codes, keep=keep, texts=texts)
    return ExportOptions(vocabulary=chosen)


def test_a_trim_that_would_keep_everything_is_none(nano: Checkpoint) -> None:
    notes = Notes()
    codes = tuple(path.stem for path in UDHR.glob("*.txt"))
    assert trimmed(nano, with_languages(*codes), notes) is nano
    assert any("need all of the vocabulary" in text for text in notes.texts)


def test_keep_all_trims_nothing_but_warns_of_the_variant(nano: Checkpoint) -> None:
    notes = Notes()
    assert trimmed(nano, with_languages("sw", keep="all"), notes) is nano
    assert "take tiny-aya-earth" in notes.texts[0]
    assert trimmed(nano, ExportOptions(), notes) is nano


def test_tight_needs_text(nano: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no text of pcm.*--texts DIR with pcm\.txt"):
        choose_ids(nano, VocabularyOptions(languages=("en", "pcm"), keep="tight"))
    (tmp_path / "pcm.txt").write_text("How you dey? I dey kampe.\nWetin dey happen?\n" * 20)
    options = VocabularyOptions(languages=("pcm",), keep="tight", texts=tmp_path)
    assert len(choose_ids(nano, options)) > 300
    assert len(choose_ids(nano, VocabularyOptions(languages=("pcm",)))) > 5000


def test_more_text_keeps_more(nano: Checkpoint, tmp_path: Path) -> None:
    words = "Zaidi ya hayo, wakulima walipanda mihogo, viazi na mahindi. "
    (tmp_path / "sw.txt").write_text(words)
    pair_ids = ids(library(nano), words)
    kept = choose_ids(nano, VocabularyOptions(languages=("sw",), keep="tight", texts=tmp_path))
    assert set(kept) >= set(pair_ids)


def test_wrong_options() -> None:
    with pytest.raises(OptionError, match="safe, tight, all"):
        VocabularyOptions(languages=("sw",), keep="loose")
    with pytest.raises(OptionError, match="no language"):
        VocabularyOptions(languages=())


def test_stop_ids_without_a_token_stay(nano: Checkpoint) -> None:
    tokenizer = replace(nano.tokenizer, stop=(3, 6, 10239))
    kept = choose_ids(replace(nano, tokenizer=tokenizer), VocabularyOptions(languages=("hi",)))
    assert {3, 6, 10239} <= set(kept)


def test_other_tokenizers_are_refused_before_any_work(tmp_path: Path) -> None:
    from tinyaya.export.errors import TokenizerError

    folder = shutil.copytree(NANO, tmp_path / "nano")
    definition = json.loads((folder / TOKENIZER_FILE).read_text(encoding="utf-8"))
    definition["model"]["byte_fallback"] = True
    (folder / TOKENIZER_FILE).write_text(json.dumps(definition), encoding="utf-8")
    with pytest.raises(TokenizerError, match="leave --languages out"):
        trimmed(open_checkpoint(folder), with_languages("sw"), Silent())
