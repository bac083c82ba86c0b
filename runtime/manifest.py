"""Reads and checks manifest.json; FORMAT.md describes what is read here.

The dataclasses are the schema: a field's name is the JSON key, its type what the value must be.
"""

import json
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from tinyaya.runtime.errors import ManifestError, MissingFileError, VersionError

MANIFEST_FILE, TOKENIZER_FILE = "manifest.json", "tokenizer.json"
TOKENIZER_CONFIG_FILE, CHAT_TEMPLATE_FILE = "tokenizer_config.json", "chat_template.jinja"
FORMAT, FORMAT_VERSION = "tinyaya-bundle", 1
CACHE_DTYPES = {"float32": 4, "int8": 1}  # bytes of a value

_MOST_SIZE, _MOST_PARAMETERS = 1 << 24, 1 << 48

_SHA256_DIGITS = re.compile("[0-9a-f]{64}")
_NOT_IN_FILE_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f]')


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Sizes of the model; `window` is None where no layer has one."""

    model_type: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    window: int | None = None
    parameters: int


@dataclass(frozen=True, kw_only=True)
class ContextLimits:
    """Positions a session may hold, and tokens a single step may take."""

    context: int
    chunk: int


@dataclass(frozen=True, kw_only=True)
class CacheShape:
    """One layer's key-value cache; dtype: how it holds them, a name of CACHE_DTYPES."""

    slots: int
    kv_heads: int
    head_dim: int
    dtype: str = "float32"

    @property
    def position_bytes(self) -> int:
        """Bytes of the keys and values of one position."""
        return 2 * self.kv_heads * self.head_dim * CACHE_DTYPES[self.dtype]


@dataclass(frozen=True, kw_only=True)
class TokenIds:
    """Ids with a meaning; `unused` are half-open ranges of table rows without a token."""

    bos: int
    pad: int
    stop: tuple[int, ...]
    unused: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class SamplingDefaults:
    """How the authors of the model sample it; the fields are those of `Sampler`."""

    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True, kw_only=True)
class Preamble:
    """Ids that prompts begin with, and the file of their keys and values; None: the program's."""

    ids: tuple[int, ...]
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class AdapterInfo:
    """An adapter that was merged into the weights: its folder's name, and hashes of its files."""

    name: str
    config_sha256: str
    weights_sha256: str


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """What a file must be, byte for byte."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a bundle says of itself.

    recipe, versions, parity, quality, vocabulary and source are kept as they are.
    """

    engine: str
    program: str
    model: ModelInfo
    recipe: Mapping[str, Any]
    limits: ContextLimits
    cache: tuple[CacheShape, ...]
    tokens: TokenIds
    sampling: SamplingDefaults
    files: Mapping[str, FileEntry]
    versions: Mapping[str, Any]
    parity: Mapping[str, Any] | None = None
    preamble: Preamble | None = None
    quality: Mapping[str, Any] | None = None
    vocabulary: Mapping[str, Any] | None = None
    calibrated_for: tuple[str, ...] = ()
    adapters: tuple[AdapterInfo, ...] = ()
    source: Mapping[str, Any] | None = None


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder`/manifest.json; no other file is touched.

    Raises MissingFileError, ManifestError or VersionError.
    """
    path = folder / MANIFEST_FILE
    try:
        text = path.read_bytes().decode("utf-8")
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except OSError as error:
        raise MissingFileError(
            f"{path} cannot be read ({error.strerror}); expected the folder of an exported bundle"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is not JSON: {error}; export the bundle again") from error
    _check_format(raw, path)
    manifest: Manifest = _read(Manifest, raw, "manifest")
    for problem in _problems(manifest):
        raise ManifestError(f"{path}: {problem}; export the bundle again")
    return manifest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key is there twice among {', '.join(key for key, _ in pairs)}")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_format(raw: Any, path: Path) -> None:
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise ManifestError(f"{path} says format {found!r}; expected {FORMAT!r}: not a bundle")
    version = raw.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise VersionError(
            f"{path} is of format version {version!r}; this runtime reads {FORMAT_VERSION}: "
            "export the bundle again, or install the tinyaya-export that wrote it"
        )


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind` (a dataclass, scalar, tuple, mapping or optional); `where` names it."""
    if is_dataclass(kind):
        return _read_object(kind, value, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(inner[0], value, where)
    if origin is tuple:
        items = _expect(list, value, where)
        kinds = inner[:1] * len(items) if inner[-1] is Ellipsis else inner
        if len(items) != len(kinds):
            raise ManifestError(f"{where} has {len(items)} items; expected {len(kinds)}")
        return tuple(
            _read(k, item, f"{where}[{i}]")
            for i, (k, item) in enumerate(zip(kinds, items, strict=True))
        )
    if origin is Mapping:
        rows = _expect(dict, value, where)
        return {key: _read(inner[1], row, f"{where}[{key!r}]") for key, row in rows.items()}
    return value if kind is Any else _expect(kind, value, where)


def _read_object(kind: Any, value: Any, where: str) -> Any:
    """Keys that `kind` does not have are left alone: FORMAT.md lets writers add some."""
    raw, hints = _expect(dict, value, where), get_type_hints(kind)
    arguments = {}
    for field in fields(kind):
        if field.name in raw:
            arguments[field.name] = _read(
                hints[field.name], raw[field.name], f"{where}.{field.name}"
            )
        elif field.default is MISSING:
            raise ManifestError(f"{where} has no key {field.name!r}; export the bundle again")
    return kind(**arguments)


def _expect(kind: type, value: Any, where: str) -> Any:
    """JSON's true is no number, and a whole number may stand for a fraction."""
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ManifestError(
        f"{where} is {str(value)[:60]!r} ({type(value).__name__}); expected {kind.__name__}"
    )


def _problems(manifest: Manifest) -> Iterator[str]:
    """Yield what has the right type and yet cannot be; the first one is reported."""
    limits = manifest.limits
    yield from _size_problems(manifest)
    yield from _file_problems(manifest)
    yield from _cache_problems(manifest)
    yield from _token_problems(manifest.tokens, manifest.model.vocab_size)
    if manifest.preamble is not None:
        yield from _preamble_problems(manifest, manifest.preamble)
    if not 1 <= limits.chunk <= limits.context:
        yield f"chunk {limits.chunk} and context {limits.context}; expected 1 <= chunk <= context"
    if problem := sampling_problem(**vars(manifest.sampling)):
        yield problem


def _size_problems(manifest: Manifest) -> Iterator[str]:
    """What no model has is refused before memory for it is asked for."""
    rows = {"model": manifest.model, "limits": manifest.limits}
    rows |= {f"cache[{index}]": shape for index, shape in enumerate(manifest.cache)}
    for where, row in rows.items():
        for name, value in vars(row).items():
            most = _MOST_PARAMETERS if name == "parameters" else _MOST_SIZE
            if isinstance(value, int) and not 1 <= value <= most:
                yield f"{where}.{name} is {value}; expected 1 to {most}"


def _file_problems(manifest: Manifest) -> Iterator[str]:
    for name, entry in manifest.files.items():
        plain = name.strip(" .") == name and not _NOT_IN_FILE_NAMES.search(name)
        if not plain or name in ("", MANIFEST_FILE):
            yield f"files names {name!r}; expected plain names of files inside the folder"
        if entry.bytes < 0 or not _SHA256_DIGITS.fullmatch(entry.sha256):
            yield f"files[{name!r}] has no size or SHA-256 in 64 lower-case hex digits"
    for name in (manifest.program, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
        if name not in manifest.files:
            yield f"files does not list {name!r}, which a bundle must have"


def _cache_problems(manifest: Manifest) -> Iterator[str]:
    """Window layers keep at least their window, or the whole context where that is less."""
    model, context = manifest.model, manifest.limits.context
    least = min(context, model.window or context)
    if len(manifest.cache) != model.layers:
        yield f"cache has {len(manifest.cache)} layers, model.layers is {model.layers}"
    for shape in manifest.cache:
        if shape.slots < least:
            yield f"cache holds {shape}; expected at least {least} slots"
        if shape.dtype not in CACHE_DTYPES:
            yield f"cache holds {shape.dtype!r}; known: {', '.join(CACHE_DTYPES)}"


def _token_problems(tokens: TokenIds, vocab_size: int) -> Iterator[str]:
    for token in (tokens.bos, tokens.pad, *tokens.stop):
        if not 0 <= token < vocab_size:
            yield f"tokens holds id {token}; expected 0 to {vocab_size - 1}"
    for low, high in tokens.unused:
        if not 0 <= low <= high:
            yield f"tokens.unused holds [{low}, {high}]; expected 0 <= first <= end"


def _preamble_problems(manifest: Manifest, preamble: Preamble) -> Iterator[str]:
    """Slots 0, 1 ... of every cache hold a preamble, so it is not longer than the window."""
    vocab_size, context = manifest.model.vocab_size, manifest.limits.context
    most = min(context - 1, manifest.model.window or context)
    if not 1 <= len(preamble.ids) <= most:
        yield f"preamble holds {len(preamble.ids)} ids; expected 1 to {most}"
    for token in preamble.ids:
        if not 0 <= token < vocab_size:
            yield f"preamble holds id {token}; expected 0 to {vocab_size - 1}"
    if preamble.file is not None and preamble.file not in manifest.files:
        yield f"files does not list {preamble.file!r}, which holds the preamble"


def sampling_problem(*, temperature: float, top_k: int, top_p: float) -> str | None:
    """Say what is wrong with these sampling options; None if nothing is."""
    if not 0 <= temperature < float("inf"):
        return f"temperature is {temperature}; expected 0 (greedy) or more"
    if top_k < 0:
        return f"top_k is {top_k}; expected 0 (off) or more"
    if not 0 < top_p <= 1:
        return f"top_p is {top_p}; expected more than 0 and at most 1 (off)"
    return None
