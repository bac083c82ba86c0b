"""Merges LoRA adapters of peft into the tensors of a checkpoint, as these are read.

A weight becomes W + scale * B A in float32; with DoRA its rows are then brought to the adapter's
magnitudes. What an adapter holds whole (peft: modules_to_save) stands in for the checkpoint's.
Shape suffixes: O outputs or table rows, I inputs, R rank.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinyaya.export.decoder.model import EMBEDDING, HEAD
from tinyaya.export.errors import AdapterError, TensorError
from tinyaya.export.source.checkpoint import Checkpoint, plain_name, read_json
from tinyaya.export.source.hub import ADAPTER_FILES, find_adapter
from tinyaya.export.source.weights import FLOAT_KINDS, FileState, StoredTensor, stored_tensors
from tinyaya.runtime.hub.ids import origin
from tinyaya.runtime.manifest import AdapterInfo
from tinyaya.runtime.progress import Progress
from tinyaya.runtime.whole_file import file_sha256

_CONFIG_FILE, _WEIGHTS_FILE = ADAPTER_FILES
_PREFIX = "base_model.model."  # of peft, before the names of the model that it wraps
_WHOLE = "base_layer"
_PARTS = (
    "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", _WHOLE,
)  # fmt: skip
# Switches of peft's LoRA for what is no sum of two weights.
_OTHER_COMPUTATIONS = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "lora_bias",
    "monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora",
)  # fmt: skip
# Ways to begin that take something out of the model's own weights.
_RESIDUAL_STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An opened adapter; tensors: module of the model -> part of its update -> where it lies.

    info: what names it in a bundle. states: of its files, when it was opened.
    """

    folder: Path
    config: Mapping[str, Any]
    info: AdapterInfo
    tensors: Mapping[str, Mapping[str, StoredTensor]] = field(repr=False)
    states: Mapping[Path, FileState] = field(repr=False)

    def problem(self, what: str) -> AdapterError:
        """The error for a model that this adapter is not of."""
        base = self.config.get("base_model_name_or_path")
        return AdapterError(f"{self.folder}: {what}; it was trained on another model: {base}")


@dataclass(frozen=True, kw_only=True)
class Transposed(StoredTensor):
    """A stored matrix with rows and columns exchanged; kept in memory, for it is read by rows."""

    stored: StoredTensor

    @cached_property
    def _all(self) -> Tensor:
        return self.stored.read().T.contiguous()

    def read(self, rows: range | None = None) -> Tensor:
        """See `StoredTensor`."""
        return self._all if rows is None else self._all[rows.start : rows.stop]


@dataclass(frozen=True, kw_only=True)
class Merged(StoredTensor):
    """A weight with a low-rank update: weight_OI + scale * left_OR @ right_RI.

    magnitudes: norms that rows have afterwards; None leaves those that come out.
    """

    weight: StoredTensor
    left: StoredTensor
    right: StoredTensor
    scale: float
    magnitudes: StoredTensor | None

    def read(self, rows: range | None = None) -> Tensor:
        """See `StoredTensor`."""
        merged_OI = self.weight.read(rows)
        merged_OI.addmm_(self.left.read(rows), self.right.read(), alpha=self.scale)
        if self.magnitudes:
            norms_O = torch.linalg.vector_norm(merged_OI, dim=1)
            merged_OI *= (self.magnitudes.read(rows) / norms_O)[:, None]
        if not torch.isfinite(merged_OI).all():
            raise TensorError(f"{self.left.path}: with it {self.name} has values beyond float32")
        return merged_OI


def with_adapters(
    checkpoint: Checkpoint, sources: Sequence[Path | str], progress: Progress | None = None
) -> Checkpoint:
    """The checkpoint with adapters merged in, one after the other.

    sources: folders, or ids on the Hub. Raises AdapterError, before any weight is read, for what
    cannot be merged.
    """
    for source in sources:
        adapter = open_adapter(find_adapter(source, progress))
        checkpoint = replace(
            checkpoint,
            tensors={**checkpoint.tensors, **_merged(checkpoint, adapter)},
            states={**checkpoint.states, **adapter.states},
            adapters=(*checkpoint.adapters, adapter.info),
        )
    return checkpoint


def open_adapter(folder: Path) -> Adapter:
    """Open a folder that peft saved; raises AdapterError for what is no plain LoRA or DoRA."""
    config_file, weights_file = folder / _CONFIG_FILE, folder / _WEIGHTS_FILE
    if not config_file.exists():
        raise AdapterError(
            f"{folder} has no {_CONFIG_FILE}; expected the folder of an adapter, saved by peft"
        )
    if not weights_file.exists():
        raise AdapterError(
            f"{folder} has no {_WEIGHTS_FILE}; save the adapter with safe_serialization=True"
        )
    config = read_json(config_file)
    _refuse_other_computations(folder, config)
    states = {path: FileState.of(path.stat()) for path in (config_file, weights_file)}
    tensors = _by_module(stored_tensors(weights_file, states[weights_file]))
    if not tensors:
        raise AdapterError(f"{weights_file} holds no tensors; save the adapter again")
    info = AdapterInfo(
        name=(origin(folder) or {}).get("id") or folder.resolve().name,
        config_sha256=file_sha256(config_file),
        weights_sha256=file_sha256(weights_file),
    )
    return Adapter(folder=folder, config=config, info=info, tensors=tensors, states=states)


def _by_module(tensors: Mapping[str, StoredTensor]) -> dict[str, dict[str, StoredTensor]]:
    """Module -> part of its update -> tensor; raises AdapterError for what is no plain float."""
    found: dict[str, dict[str, StoredTensor]] = {}
    for key, tensor in tensors.items():
        if tensor.kind not in FLOAT_KINDS:
            raise AdapterError(
                f"{tensor.path}: {key} is of type {tensor.kind}; expected {', '.join(FLOAT_KINDS)}"
            )
        name = plain_name(key.removeprefix(_PREFIX)).removesuffix(".weight")
        module, _, part = name.rpartition(".")
        if part not in _PARTS:
            module, part = name, _WHOLE
        found.setdefault(module, {})[part] = tensor
    return found


def _refuse_other_computations(folder: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise AdapterError(
            f"{folder} is an adapter of type {config.get('peft_type')!r}; expected LORA, which "
            "can be merged into the weights"
        )
    for key in _OTHER_COMPUTATIONS:
        if config.get(key):
            raise AdapterError(
                f"{folder}: {key} = {config[key]!r} cannot be merged into the weights; expected "
                "plain LoRA or DoRA"
            )
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_RESIDUAL_STARTS):
        raise AdapterError(
            f"{folder}: {start!r} changed the model's own weights; convert the adapter to LoRA: "
            "peft's save_pretrained with path_initial_model_for_weight_conversion"
        )


def _merged(checkpoint: Checkpoint, adapter: Adapter) -> dict[str, StoredTensor]:
    """Name -> tensor of all that the adapter changes."""
    found, modules = {}, dict(adapter.tensors)
    if checkpoint.config.tied and {EMBEDDING, HEAD} & modules.keys():
        _check_tied(adapter)
        del modules[HEAD]
    for module, parts in modules.items():
        name = f"{module}.weight"
        shape = checkpoint.shapes.get(name)
        if shape is None:
            raise adapter.problem(f"{checkpoint.folder} has no {name} for its {', '.join(parts)}")
        weight = parts.get(_WHOLE, checkpoint.tensors[name])
        if weight.shape != shape:
            raise adapter.problem(f"its {name} is {weight.shape}, that of the model {shape}")
        updates = {part: tensor for part, tensor in parts.items() if part != _WHOLE}
        found[name] = _updated(weight, updates, adapter, module) if updates else weight
    return found


def _check_tied(adapter: Adapter) -> None:
    """Refuse what would part embedding and head, which are one table: both whole and equal go."""
    found = [adapter.tensors.get(module, {}) for module in (EMBEDDING, HEAD)]
    if not all(parts.keys() == {_WHOLE} for parts in found):
        raise AdapterError(
            f"{adapter.folder} changes {EMBEDDING} or {HEAD}, which are one table in this model; "
            "merged, it would change both: train it without these, or with both in "
            "modules_to_save and ensure_weight_tying"
        )
    if not found[0][_WHOLE].equals(found[1][_WHOLE]):
        raise AdapterError(
            f"{adapter.folder} holds another {EMBEDDING} than {HEAD}, which are one table in this "
            "model; train it with ensure_weight_tying"
        )


def _updated(
    weight: StoredTensor, parts: Mapping[str, StoredTensor], adapter: Adapter, module: str
) -> StoredTensor:
    """The weight of `module` with its low-rank update; raises AdapterError if that does not fit."""
    magnitudes = parts.get("lora_magnitude_vector")
    if parts.keys() == {"lora_embedding_A", "lora_embedding_B"}:
        left, right = map(_transposed, (parts["lora_embedding_A"], parts["lora_embedding_B"]))
    elif parts.keys() - {"lora_magnitude_vector"} == {"lora_A", "lora_B"}:
        left, right = parts["lora_B"], parts["lora_A"]
    else:
        raise AdapterError(
            f"{adapter.folder}: {module} has {', '.join(parts)}; expected lora_A and lora_B, "
            "lora_magnitude_vector beside them (DoRA), or lora_embedding_A and lora_embedding_B"
        )
    if adapter.config.get("use_dora") and not magnitudes:
        raise AdapterError(f"{adapter.folder}: use_dora, but {module} has no lora_magnitude_vector")
    rank = left.shape[-1] if left.shape else 0
    expected = [(weight.shape[0], rank), (rank, weight.shape[-1]), weight.shape[:1]]
    shapes = [part.shape for part in (left, right, magnitudes) if part]
    if not rank or shapes != expected[: len(shapes)] or len(weight.shape) != 2:
        raise adapter.problem(
            f"{module} is {weight.shape} in the model, its update {' by '.join(map(str, shapes))}"
        )
    scale = _alpha(adapter, module) / (sqrt(rank) if adapter.config.get("use_rslora") else rank)
    return Merged(
        **weight.place(),
        weight=weight,
        left=left,
        right=right,
        scale=scale,
        magnitudes=magnitudes,
    )


def _transposed(stored: StoredTensor) -> StoredTensor:
    return Transposed(**{**stored.place(), "shape": stored.shape[::-1]}, stored=stored)


def _alpha(adapter: Adapter, module: str) -> float:
    """What the update is multiplied by, before its rank divides it."""
    patterns, alpha = adapter.config.get("alpha_pattern") or {}, adapter.config.get("lora_alpha")
    try:
        found = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module))
        alpha = next(found, alpha)
    except (re.error, AttributeError) as error:
        raise AdapterError(
            f"{adapter.folder}: alpha_pattern is {patterns!r}; expected alphas by patterns of names"
        ) from error
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not isfinite(alpha):
        raise AdapterError(f"{adapter.folder}: alpha of {module} is {alpha!r}; expected a number")
    return alpha
