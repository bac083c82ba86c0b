"""Reads a checkpoint's tokenizer files, whichever tool wrote them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from tokenizers import Regex
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.normalizers import Replace

from tinyaya.export.errors import TokenizerError
from tinyaya.export.source.client_tokenizer import for_clients
from tinyaya.export.source.json_file import read_object
from tinyaya.runtime.manifest import sampling_problem
from tinyaya.runtime.tokenizer import read_tokenizer

TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
ADDED_TOKENS_FILE = "added_tokens.json"
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
Encode = Callable[[str], list[int]]

# Tokens that end an answer although a generation_config may not list them.
_TURN_ENDS = ("<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>")
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token")  # bytes leave nothing unknown
# Kinds of steps that byte-level BPE has, in any client.
_STEPS = {
    "normalizer": ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Replace"),
    "pre_tokenizer": ("Split", "Digits", "Punctuation", "ByteLevel"),
    "post_processor": ("TemplateProcessing", "ByteLevel", "RobertaProcessing", "BertProcessing"),
    "decoder": ("ByteLevel",),
}
_PROBE = "ab 12 ,.\n\n  C's"  # of most kinds of characters
_SEQUENCES = ("normalizers", "pretokenizers", "processors", "decoders")
# The class that transformers and onnxruntime-genai both read; what a checkpoint names, such as
# CohereTokenizerFast, the latter refuses.
_CLIENTS_CLASS = "PreTrainedTokenizerFast"


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """What a bundle needs of a tokenizer.

    original: `tokenizer.json` as it was found, its truth. definition: for clients. config:
    `tokenizer_config.json` for them.
    unused: half-open ranges of table rows that no token has, never to be sampled. sampling: the
    checkpoint's defaults. notes: what was left out, for the user to know.
    """

    original: Mapping[str, Any] = field(repr=False)
    definition: Mapping[str, Any] = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    chat_template: str | None = field(repr=False)
    bos: int
    pad: int
    stop: tuple[int, ...]
    unused: tuple[tuple[int, int], ...]
    sampling: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def definition_for(self, engine: str) -> Mapping[str, Any]:
        """`tokenizer.json` for the clients of `engine`.

        ExecuTorch's own tokenizer drops accents where it is told to normalize to NFC, so a .pte
        goes without: texts that are not in that form, which hardly any is, get other ids there.
        """
        normalizer = self.definition.get("normalizer")
        if engine == "executorch" and normalizer == {"type": "NFC"}:
            return {**self.definition, "normalizer": None}
        return self.definition

    def encoder(self) -> Encode:
        """Text -> ids, without special tokens, as Hugging Face's library reads the original."""
        return _encoder(_library(Path(TOKENIZER_FILE), self.original))

    def trimmed(
        self, original: Mapping[str, Any], new: Mapping[int, int], rows: int
    ) -> "Tokenizer":
        """With the tokens of `original` alone, in a table of so many rows.

        new: old id -> its new one. Raises KeyError where `new` lacks an id that is named.
        """
        return replace(
            self,
            original=original,
            definition=for_clients(original),
            bos=new[self.bos],
            pad=new[self.pad],
            stop=tuple(sorted(new[id_] for id_ in self.stop)),
            unused=_gaps(_written_ids(original), rows),
        )


def open_tokenizer(
    folder: Path, config: Mapping[str, Any], generation: Mapping[str, Any], files: Mapping[str, Any]
) -> Tokenizer:
    """Tokenizer of the checkpoint in `folder`.

    config, generation, files: the parsed config.json, generation_config.json and
    tokenizer_config.json. Raises TokenizerError for a tokenizer that is absent or of another kind.
    """
    definition = read_definition(folder)
    ids, vocab_size = _all_ids(folder, definition), config["vocab_size"]
    if max(ids.values()) >= vocab_size:
        raise TokenizerError(
            f"{folder}: tokenizer.json has id {max(ids.values())}, but the vocabulary table has "
            f"only {vocab_size} rows; the files belong to different models"
        )
    named = [*_ids(generation.get("eos_token_id")), *_ids(config.get("eos_token_id"))]
    named += [ids[token] for token in (*_TURN_ENDS, _text(files.get("eos_token"))) if token in ids]
    stop, pad = _in_table(named, vocab_size), _ids(config.get("pad_token_id"))
    bos = _ids(config.get("bos_token_id")) or _ids(ids.get(_text(files.get("bos_token"))))
    if not _in_table(bos, vocab_size) or not stop:
        raise TokenizerError(
            f"{folder}: bos_token_id is {bos or None}, eos_token_id {named or None}; expected ids "
            f"from 0 to {vocab_size - 1} in config.json"
        )
    outside = sorted({*named, *pad} - {*_in_table([*named, *pad], vocab_size)})
    return Tokenizer(
        original=definition,
        definition=for_clients(definition),
        config=_clients_config(files),
        chat_template=_chat_template(folder, files),
        bos=bos[0],
        pad=next(iter(_in_table(pad, vocab_size)), 0),
        stop=tuple(sorted(set(stop))),
        unused=_gaps(ids, vocab_size),
        sampling=_sampling(generation),
        notes=tuple(
            f"stop or pad id {id_} is left out: the vocabulary has {vocab_size} rows"
            for id_ in outside
        ),
    )


def read_definition(folder: Path) -> dict[str, Any]:
    """The folder's `tokenizer.json` with the tokens that only its other files add.

    Truncation and padding, which tools leave there, are no part of a tokenizer.
    """
    path = folder / TOKENIZER_FILE
    if not path.exists():
        raise TokenizerError(f"{folder} has no tokenizer.json; download it with the checkpoint")
    definition = read_object(path, TokenizerError)
    model = definition.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not vocab or not isinstance(vocab, dict) or definition["model"].get("type") != "BPE":
        raise TokenizerError(f"{path}: expected a byte-level BPE tokenizer of Hugging Face's form")
    _refuse_other_kinds(path, definition)
    added = _added(path, definition.get("added_tokens") or [])
    known = {row["content"] for row in added} | vocab.keys()
    more = [row for row in _added_elsewhere(folder) if row["content"] not in known]
    return {**definition, "added_tokens": added + more, "truncation": None, "padding": None}


def _refuse_other_kinds(path: Path, definition: Mapping[str, Any]) -> None:
    """What is no byte-level BPE; some of it ends libraries, or hangs them."""
    for key, kinds in _STEPS.items():
        for step in _steps(definition.get(key)):
            if not isinstance(step, dict) or step.get("type") not in kinds:
                found = step.get("type") if isinstance(step, dict) else step
                raise TokenizerError(
                    f"{path}: {key} is {str(found)[:60]!r}; supported: {', '.join(kinds)}"
                )
            if _finds_nothing(step.get("pattern")):
                raise TokenizerError(
                    f"{path}: {key} has the pattern {str(step['pattern'])[:60]}, which matches "
                    "where no character is; expected one that takes some"
                )
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if found := definition["model"].get(option):
            raise TokenizerError(f"{path}: model has {option} = {str(found)[:60]}; supported: none")


def _steps(step: Any) -> Iterator[Any]:
    """A step of a tokenizer, or all that a sequence holds."""
    inner = next((step[key] for key in _SEQUENCES if isinstance(step, dict) and key in step), None)
    if isinstance(inner, list) and step.get("type") == "Sequence":
        for one in inner:
            yield from _steps(one)
    elif step is not None:
        yield step


def _finds_nothing(pattern: Any) -> bool:
    """Whether it matches between two characters, where clients hang."""
    if not isinstance(pattern, dict) or not isinstance(regex := pattern.get("Regex"), str):
        return bool(pattern == {"String": ""})
    try:
        marked, left = (Replace(Regex(regex), to).normalize_str(_PROBE) for to in ("\0", ""))
    except Exception:  # the library has no other kind; reading the whole file says what is wrong
        return False
    return bool(marked.count("\0") > len(_PROBE) - len(left))


def _added(path: Path, rows: Any) -> list[dict[str, Any]]:
    """The added tokens of `tokenizer.json`, each an object with its text."""
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, dict) or not isinstance(row.get("content"), str):
            raise TokenizerError(
                f"{path}: added_tokens holds {str(row)[:60]}; expected objects with their content"
            )
    return list(rows)


def _added_elsewhere(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of tokens that tokenizer_config.json or added_tokens.json add, by id."""
    found: dict[int, dict[str, Any]] = {}
    for name, read in (
        (ADDED_TOKENS_FILE, lambda raw: {id_: {"content": text} for text, id_ in raw.items()}),
        (TOKENIZER_CONFIG_FILE, lambda raw: dict(raw.get("added_tokens_decoder") or {})),
    ):
        path = folder / name
        if not path.exists():
            continue
        try:
            found |= {int(id_): row for id_, row in read(read_object(path, TokenizerError)).items()}
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise TokenizerError(f"{path}: added tokens cannot be read: {error}") from error
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for id_, row in sorted(found.items()):
        if not isinstance(row, dict) or not isinstance(row.get("content"), str):
            raise TokenizerError(f"{folder}: the added token {id_} is {row!r}; expected its text")
        yield {"id": id_, "content": row["content"]} | {key: bool(row.get(key)) for key in flags}


def _written_ids(definition: Mapping[str, Any]) -> dict[str, int]:
    added = {row["content"]: row.get("id") for row in definition["added_tokens"]}
    return {**definition["model"]["vocab"], **added}


def _all_ids(folder: Path, definition: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id; raises TokenizerError where the library reads other ids than are written."""
    ids = _written_ids(definition)
    path = folder / TOKENIZER_FILE
    if strange := [token for token, id_ in ids.items() if not isinstance(id_, int)]:
        raise TokenizerError(f"{path}: the id of {strange[0]!r} is no whole number")
    twice = [id_ for id_, count in Counter(ids.values()).items() if count > 1]
    if twice:
        both = " and ".join(repr(token) for token, id_ in ids.items() if id_ == twice[0])
        raise TokenizerError(f"{path}: {both} have one id, {twice[0]}; expected one token an id")
    read = _library(path, definition).get_vocab(with_added_tokens=True)
    if wrong := [token for token, id_ in ids.items() if read.get(token) != id_]:
        raise TokenizerError(
            f"{path}: {wrong[0]!r} is written as id {ids[wrong[0]]}, which Hugging Face's library "
            f"reads as {read.get(wrong[0])}; the ids of added tokens must follow those before them"
        )
    return ids


def _ids(value: object) -> list[int]:
    """Ids from a config value that may be absent, one id or a list."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, int) and not isinstance(item, bool)]


def _in_table(ids: Sequence[int], rows: int) -> list[int]:
    return [id_ for id_ in ids if 0 <= id_ < rows]


def _text(token: object) -> str:
    """A special token's text; configs write it as a string or an object, or as null."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _clients_config(files: Mapping[str, Any]) -> dict[str, Any]:
    """What clients need of tokenizer_config.json, whichever tool wrote it: no null, no list."""
    special = {key: _text(files.get(key)) for key in _SPECIAL_TOKENS}
    return {
        "tokenizer_class": _CLIENTS_CLASS,
        **{key: text for key, text in special.items() if text},
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
    }


def _chat_template(folder: Path, files: Mapping[str, Any]) -> str | None:
    """From a file of its own, or from tokenizer_config.json; raises TokenizerError."""
    template = files.get("chat_template")
    for path in (folder / name for name in reversed(TEMPLATE_FILES)):
        if path.suffix == ".json" and path.exists():
            template = read_object(path, TokenizerError).get("chat_template")
        elif path.exists():
            try:
                template = path.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise TokenizerError(f"{path}: cannot read: {error}; expected UTF-8") from error
    if isinstance(template, list):  # several named templates
        named = {row.get("name"): row.get("template") for row in template if isinstance(row, dict)}
        if "default" not in named and len(named) != 1:
            raise TokenizerError(
                f"{folder}: chat_template has {', '.join(map(str, named)) or 'nothing'}; name the "
                "one for chats 'default'"
            )
        template = named.get("default", *named.values()) if len(named) == 1 else named["default"]
    if not isinstance(template, str | None):
        found = str(template)[:60]
        raise TokenizerError(f"{folder}: chat_template is {found}; expected a jinja template")
    return template


def _gaps(ids: Mapping[str, int], size: int) -> tuple[tuple[int, int], ...]:
    """Half-open ranges of [0, size) that hold no id of a token."""
    edges = [-1, *sorted(set(ids.values())), size]
    return tuple((a + 1, b) for a, b in pairwise(edges) if b > a + 1)


def _sampling(generation: Mapping[str, Any]) -> dict[str, float]:
    """Temperature (0: greedy), top-k (0: off) and top-p (1: off), as transformers reads them."""
    greedy = {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    if not generation.get("do_sample", False):
        return greedy
    defaults = {"temperature": 1.0, "top_k": 50, "top_p": 1.0}  # transformers' own
    sampling = {key: _number(generation, key, default) for key, default in defaults.items()}
    if sampling["temperature"] == 0:
        return greedy
    problem = sampling_problem(
        temperature=sampling["temperature"], top_k=int(sampling["top_k"]), top_p=sampling["top_p"]
    )
    if problem:
        raise TokenizerError(f"generation_config.json: {problem}")
    return sampling


def _number(generation: Mapping[str, Any], key: str, default: float) -> float:
    value = generation.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TokenizerError(f"generation_config.json says {key} = {value!r}; expected a number")
    return type(default)(value)


def _library(path: Path, definition: Mapping[str, Any]) -> HuggingFaceTokenizer:
    try:
        return read_tokenizer(json.dumps(definition, ensure_ascii=False))
    except ValueError as error:
        raise TokenizerError(f"{path}: cannot read: {error}; download it again") from error


def hugging_face_encoder(folder: Path) -> Encode:
    """Text -> ids, without special tokens, by the folder's `tokenizer.json`."""
    return _encoder(_library(folder / TOKENIZER_FILE, read_definition(folder)))


def _encoder(tokenizer: HuggingFaceTokenizer) -> Encode:
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)
