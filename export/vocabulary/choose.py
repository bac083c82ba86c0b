"""Chooses the tokens that some languages need.

A token stays with all merges that lead to it. So where a text's tokens all stay, the same merges
happen in the same order, and the text has the same tokens as before.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from importlib.resources import files
from itertools import chain
from pathlib import Path

from tinyaya.export.languages.scripts import COMMON_SCRIPTS, Characters, scripts_of
from tinyaya.export.languages.table import LANGUAGES
from tinyaya.export.languages.texts import texts_of
from tinyaya.export.languages.variants import variant_note
from tinyaya.export.options import ExportOptions, VocabularyOptions
from tinyaya.export.source.adapter import with_adapters
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.export.source.tokenizer import Encode, Tokenizer
from tinyaya.export.vocabulary.bpe import BYTE_CHARACTERS, BytePairs
from tinyaya.export.vocabulary.trim import ROW_MULTIPLE, trim_checkpoint
from tinyaya.runtime import ChatTemplate, ChatTemplateError
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Progress

# `tight` may lengthen text that it was not chosen by, which halves of the texts stand for.
_MAX_TIGHT_GROWTH = 0.02
_CODE_SAMPLE_FILE = "code_sample.txt"


def trimmed(checkpoint: Checkpoint, export: ExportOptions, progress: Progress) -> Checkpoint:
    """The checkpoint with the tokens alone that the options keep, or itself where that is all.

    Raises OptionError, and TokenizerError for a tokenizer that is no byte-level BPE.
    """
    options = export.vocabulary
    if options is None:
        return checkpoint
    languages = [LANGUAGES[code] for code in options.languages]
    if note := variant_note(checkpoint.folder, languages):
        progress.note(note)
    if options.keep == "all":
        return checkpoint
    progress.stage("trim the vocabulary")
    kept = choose_ids(checkpoint, options, export.preamble)
    rows = len(kept) + -len(kept) % ROW_MULTIPLE
    if rows >= checkpoint.config.vocab_size:
        progress.note(
            f"{', '.join(options.languages)} need all of the vocabulary, so it stays as it is"
        )
        return checkpoint
    return trim_checkpoint(checkpoint, kept, options.languages, options.keep)


def open_for_export(source: Path | str, export: ExportOptions, progress: Progress) -> Checkpoint:
    """The checkpoint `source` with the adapters and the tokens that the options name."""
    whole = with_adapters(open_checkpoint(source, progress), export.adapters, progress)
    return trimmed(whole, export, progress)


def choose_ids(
    checkpoint: Checkpoint, options: VocabularyOptions, preamble: str | None = None
) -> list[int]:
    """Ids of the tokens that stay, ascending; preamble: a text that must not become longer."""
    pairs = BytePairs.of(checkpoint.tokenizer.original)
    encode = checkpoint.tokenizer.encoder()
    scripts = set(COMMON_SCRIPTS).union(*map(scripts_of, options.languages))
    safe = _written_in(pairs, Characters.of_scripts(scripts))
    needed = _needed(pairs, checkpoint.tokenizer, encode, preamble)
    always = {*pairs.added, *BYTE_CHARACTERS, *needed}
    chosen = safe if options.keep == "safe" else _tight(pairs, safe, encode, options)
    tokens = pairs.closed(chosen | always)
    tokenizer = checkpoint.tokenizer  # its ids may lie in rows that no token has
    named = {tokenizer.bos, tokenizer.pad, *tokenizer.stop}
    return sorted({pairs.ids[token] for token in tokens} | named)


def _written_in(pairs: BytePairs, characters: Characters) -> set[str]:
    """Tokens that a text of those characters may hold."""
    found = set()
    for token in pairs.ids:
        held = pairs.bytes_of(token)
        if held is not None and token not in pairs.added and characters.may_hold(held):
            found.add(token)
    return found


def _needed(
    pairs: BytePairs, tokenizer: Tokenizer, encode: Encode, preamble: str | None
) -> set[str]:
    """Tokens of code, and of what prompts begin with, in whatever script that is."""
    code = (files("tinyaya.export.vocabulary") / _CODE_SAMPLE_FILE).read_text("utf-8")
    texts = [code, preamble or ""]
    if tokenizer.chat_template is not None:
        with suppress(ChatTemplateError):  # the search for a preamble tells
            template = ChatTemplate(tokenizer.chat_template, tokenizer.config)
            texts.append(template.render([{"role": "user", "content": "a"}]))
    return {pairs.tokens[id_] for id_ in chain.from_iterable(map(encode, texts))}


def _tight(
    pairs: BytePairs, safe: set[str], encode: Encode, options: VocabularyOptions
) -> set[str]:
    """What of `safe` the texts have, and its first merges, as many as other texts ask for."""
    texts = texts_of(options.languages, options.texts)
    if absent := [code for code in options.languages if code not in texts]:
        raise OptionError(
            f"there is no text of {', '.join(absent)} to choose tokens by; add --texts DIR with "
            f"{absent[0]}.txt, or take --keep safe"
        )
    halves = [_halves(text, encode, pairs) for text in texts.values()]

    def fits(merges: int) -> bool:
        kept = pairs.closed(_kept(pairs, safe, (first for first, _ in halves), merges))
        return all(
            _length(pairs, second, kept) <= (1 + _MAX_TIGHT_GROWTH) * _length(pairs, second, safe)
            for _, second in halves
        )

    merges = bisect_left(range(len(pairs.merges)), 1, key=fits)
    return _kept(pairs, safe, chain.from_iterable(halves), merges)


def _halves(text: str, encode: Encode, pairs: BytePairs) -> list[Counter[str]]:
    """Tokens of the first and the second half of a text's lines."""
    lines = text.splitlines(keepends=True)
    parts = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    return [Counter(pairs.tokens[id_] for id_ in encode("".join(part))) for part in parts]


def _kept(
    pairs: BytePairs, safe: set[str], texts: Iterable[Iterable[str]], merges: int
) -> set[str]:
    """Tokens of `safe` that are in a text or come of one of the first `merges`."""
    frequent = {token for token in safe if pairs.ranks.get(token, merges) < merges}
    return frequent | (safe & set(chain.from_iterable(texts)))


def _length(pairs: BytePairs, text: Counter[str], kept: set[str]) -> int:
    """Tokens of a text where those that are not kept fall into the parts that they came of."""
    counts: dict[str, int] = {}

    def count(token: str) -> int:
        if token in kept or token not in pairs.parts:
            return 1
        if token not in counts:
            counts[token] = sum(map(count, pairs.parts[token][0]))
        return counts[token]

    return sum(times * count(token) for token, times in text.items())
