"""Opens a Hugging Face folder as a Checkpoint: config, tokenizer files, and tensors read lazily.

Tensors are matched both ways: every tensor of the architecture must be there, and no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from tinyaya.export.decoder.config import DecoderConfig, parse_config
from tinyaya.export.decoder.model import EMBEDDING, HEAD, tensor_shapes
from tinyaya.export.errors import CheckpointError, TensorError
from tinyaya.export.source.hub import INDEX_FILE, SIDE_FILES, WEIGHTS_FILE, find_checkpoint
from tinyaya.export.source.json_file import read_object
from tinyaya.export.source.tokenizer import Tokenizer, open_tokenizer
from tinyaya.export.source.weights import (
    FLOAT_KINDS,
    FileState,
    StoredTensor,
    changed,
    check_unchanged,
    stored_tensors,
)
from tinyaya.quantize.roles import LayerKind
from tinyaya.runtime.manifest import AdapterInfo
from tinyaya.runtime.progress import Progress

# What tools put before the names of a text model's tensors.
_PREFIXES = ("_orig_mod.", "model.language_model.", "language_model.")
# Endings of names by which quantizers store weights, and what they are called.
_QUANTIZED_ENDINGS = {
    ".qweight": "GPTQ or AWQ", ".qzeros": "GPTQ or AWQ", ".g_idx": "GPTQ",
    ".weight_packed": "compressed-tensors", ".weight_scale": "compressed-tensors",
    ".absmax": "bitsandbytes", ".SCB": "bitsandbytes",
}  # fmt: skip
_COMPUTED_ENDING = ".inv_freq"  # of RoPE, which old versions of transformers stored
_PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclass(frozen=True, kw_only=True)
class Trim:
    """What was left of a vocabulary; kept: old ids in ascending order, a new id's at its place.

    languages: what they were chosen for. keep: how, see `VocabularyOptions`.
    """

    whole: "Checkpoint"
    kept: tuple[int, ...]
    languages: tuple[str, ...]
    keep: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened folder; weights stay on disk until read.

    tensors: name -> where the tensor lies. shapes: of the tensors of the architecture, in its
    order. states: of every file that is read, when the folder was opened. adapters: what was
    merged into it, in order. trim: where only some tokens of the vocabulary are left.
    """

    folder: Path
    config: DecoderConfig
    tokenizer: Tokenizer
    tensors: Mapping[str, StoredTensor] = field(repr=False)
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    states: Mapping[Path, FileState] = field(repr=False)
    adapters: tuple[AdapterInfo, ...] = ()
    trim: Trim | None = field(default=None, repr=False)

    @property
    def whole(self) -> "Checkpoint":
        """With all tokens of the vocabulary."""
        return self.trim.whole if self.trim else self

    @property
    def languages(self) -> tuple[str, ...]:
        """What the vocabulary was trimmed for; empty where it is whole."""
        return self.trim.languages if self.trim else ()

    @property
    def kinds(self) -> Sequence[LayerKind]:
        """Of all layers."""
        return self.config.kinds

    @property
    def names(self) -> Sequence[str]:
        """Names of the tensors of the architecture, in its order."""
        return list(self.shapes)

    def read(self, name: str, rows: range | None = None) -> Tensor:
        """One tensor in float32, or some of its rows.

        Raises TensorError if a value is not finite, ChangedError if its file changed.
        """
        return self.tensors[name].read(rows)

    def check_unchanged(self) -> None:
        """Raise ChangedError if a file is not what it was when the folder was opened."""
        for path, state in self.states.items():
            check_unchanged(path, state)


def open_checkpoint(source: Path | str, progress: Progress | None = None) -> Checkpoint:
    """Open a folder, or what an id on the Hub leads to (see `find_checkpoint`).

    Raises CheckpointError (see `errors`) with what is wrong with it, and HubError.
    """
    folder = find_checkpoint(source, progress)
    _refuse_adapters(folder)
    states = {path: FileState.of(path.stat()) for path in folder.iterdir() if path.is_file()}
    raw = read_json(folder / "config.json")
    config = parse_config(raw)
    tokenizer = open_tokenizer(
        folder,
        raw,
        read_json(folder / "generation_config.json", required=False),
        read_json(folder / "tokenizer_config.json", required=False),
    )
    tensors = _plainly_named(_locate(folder, states))
    shapes = tensor_shapes(config)
    _match(tensors, shapes)
    used = {folder / name for name in SIDE_FILES} | {row.path for row in tensors.values()}
    return Checkpoint(
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        tensors=tensors,
        shapes=shapes,
        states={path: state for path, state in states.items() if path in used},
    )


def _refuse_adapters(folder: Path) -> None:
    adapter = folder / "adapter_config.json"
    if adapter.exists() and not (folder / "config.json").exists():
        base = read_json(adapter).get("base_model_name_or_path")
        raise CheckpointError(
            f"{folder} is an adapter of {base}, no whole model; take that model, and add "
            f"--adapter {folder}"
        )


def read_json(path: Path, *, required: bool = True) -> dict[str, Any]:
    """A JSON object from a file; {} where it is absent and not required."""
    if not path.exists():
        if required:
            raise CheckpointError(
                f"{path.parent} has no {path.name}; download the whole checkpoint"
            )
        return {}
    return read_object(path)


def _locate(folder: Path, states: Mapping[Path, FileState]) -> dict[str, StoredTensor]:
    """Tensors by name, of one file or of shards with an index."""
    if (folder / INDEX_FILE).exists():
        return _locate_shards(folder, states)
    if (folder / WEIGHTS_FILE).exists():
        return dict(_tensors(folder / WEIGHTS_FILE, states))
    if any(found for pattern in _PICKLE_PATTERNS for found in folder.glob(pattern)):
        raise CheckpointError(
            f"{folder} holds pickled weights only, which can run code when loaded; "
            "convert them to safetensors"
        )
    raise CheckpointError(
        f"{folder} has neither {WEIGHTS_FILE} nor {INDEX_FILE}; download the weights"
    )


def _locate_shards(folder: Path, states: Mapping[Path, FileState]) -> dict[str, StoredTensor]:
    """Tensors by name; the index must name what the shards hold, no less, no more."""
    weight_map = read_json(folder / INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{folder / INDEX_FILE}: expected an object 'weight_map'")
    shards = {name: _shard_path(folder, shard) for name, shard in weight_map.items()}
    held: dict[tuple[str, Path], StoredTensor] = {}
    for path in sorted(set(shards.values())):
        if not path.exists():
            raise CheckpointError(
                f"{folder} lacks {path.name}, which its index names; download it again"
            )
        held |= {(name, path): tensor for name, tensor in _tensors(path, states).items()}
    for name, path in sorted(shards.items() - held.keys()):
        raise TensorError(
            f"{path}: the index promises {name}, the file does not hold it; download both again"
        )
    for name, path in sorted(held.keys() - shards.items()):
        raise TensorError(
            f"{path}: holds {name}, which the index does not place there; download both again"
        )
    return {name: tensor for (name, _), tensor in held.items()}


def _shard_path(folder: Path, shard: object) -> Path:
    if not isinstance(shard, str) or Path(shard).name != shard or shard in ("", ".."):
        raise CheckpointError(
            f"{folder / INDEX_FILE}: {shard!r} is not a plain file name; download the index again"
        )
    return folder / shard


def _tensors(path: Path, states: Mapping[Path, FileState]) -> Mapping[str, StoredTensor]:
    if path not in states:
        raise changed(path, "appeared")
    return stored_tensors(path, states[path])


def _plainly_named(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors by the names that transformers gives a text model alone."""
    plain: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        short = plain_name(name)
        if short in plain:
            raise TensorError(f"{tensor.path}: {name} and {plain[short].name} are both {short}")
        plain[short] = tensor
    return plain


def plain_name(name: str) -> str:
    """The name that transformers gives a text model's tensor."""
    short = name
    for prefix in _PREFIXES:
        short = short.removeprefix(prefix)
    if short != name and not short.startswith(("model.", f"{HEAD}.")):
        short = f"model.{short}"
    return short


def _match(tensors: dict[str, StoredTensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse missing, surplus and misshapen tensors; drop biases that are zero."""
    _refuse_quantized(tensors)
    if missing := sorted(shapes.keys() - tensors.keys()):
        raise TensorError(f"{_some(missing)} missing from the checkpoint; download it again")
    for name in sorted(tensors.keys() - shapes.keys()):
        _check_surplus(name, tensors.pop(name), tensors)
    for name, shape in shapes.items():
        found = tensors[name]
        if found.shape != shape:
            raise TensorError(
                f"{found.path}: {name} has shape {found.shape}, expected {shape}; "
                "config.json and weights belong to different models"
            )
        if found.kind not in FLOAT_KINDS:
            raise TensorError(
                f"{found.path}: {name} is stored as {found.kind}, expected "
                f"{', '.join(FLOAT_KINDS)}; take the checkpoint that is not quantized"
            )


def _refuse_quantized(tensors: Mapping[str, StoredTensor]) -> None:
    for name, tensor in tensors.items():
        for ending, kind in _QUANTIZED_ENDINGS.items():
            if name.endswith(ending):
                raise TensorError(
                    f"{tensor.path}: {name} is of weights that are quantized already ({kind}); "
                    "take the checkpoint in bfloat16 that it was made from"
                )


def _check_surplus(name: str, tensor: StoredTensor, tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse what is another computation: not a copy of the tied table, nor what is computed."""
    if name.endswith(_COMPUTED_ENDING):
        return
    if name == f"{HEAD}.weight":
        if tensor.equals(tensors[f"{EMBEDDING}.weight"]):
            return
        raise TensorError(
            f"{tensor.path}: {name} differs from the embedding, but config.json says "
            "tie_word_embeddings; config.json and weights belong to different models"
        )
    if not name.endswith(".bias"):
        raise TensorError(
            f"{tensor.path}: surplus tensor {name}, which the architecture does not use; "
            "this is not a plain Cohere2 checkpoint"
        )
    if not tensor.is_zero():
        raise TensorError(f"{tensor.path}: {tensor.name} is not zero; biases are not supported")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more + (" are" if len(names) > 1 else " is")
