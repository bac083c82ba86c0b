"""Keeps what calibration has done so far in a folder, so that a killed one goes on from there.

One file a finished layer, and the streams after the newest; every file is complete or absent.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.groupwise import QuantizedWeight
from tinyaya.quantize.recipe import Recipe
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.whole_file import is_leftover, whole_file, write_whole

_KEY_FILE = "calibration.json"
_METHOD_VERSION = 1  # counts changes of the method, after which old layers do not fit new ones
_STREAM_NAMES = ("exact", "fitted")


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Hidden states_TD of every sequence before a layer: the model's, and the fitted model's."""

    exact: Sequence[Tensor]
    fitted: Sequence[Tensor]

    @property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Both, sequence by sequence."""
        return list(zip(self.exact, self.fitted, strict=True))


class FittedStore:
    """The folder; raises OptionError if it holds the work of another calibration."""

    def __init__(self, folder: Path, key: Mapping[str, str]) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _KEY_FILE
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != dict(key):
            raise OptionError(
                f"{folder} holds the calibration of another checkpoint, recipe or text; "
                "choose another --work folder or remove it"
            )
        for part in filter(is_leftover, folder.glob(".*.partial-*")):
            part.unlink()
        write_whole(path, json.dumps(dict(key)))

    @property
    def done(self) -> int:
        """How many layers are finished, with the streams after them."""
        found = [
            int(path.stem.split("-")[1]) for path in self._folder.glob("streams-*.safetensors")
        ]
        return max(found, default=0)

    def layer(self, index: int) -> dict[str, QuantizedWeight]:
        """Weights of a finished layer."""
        tensors = load_file(self._path("layer", index))
        names = {name.rsplit(":", 1)[0] for name in tensors}
        return {name: _weight(name, tensors) for name in sorted(names)}

    def streams(self) -> Streams:
        """What `save` was given last."""
        tensors = load_file(self._path("streams", self.done))
        rows = range(len(tensors) // len(_STREAM_NAMES))
        exact, fitted = ([tensors[f"{name}:{row}"] for row in rows] for name in _STREAM_NAMES)
        return Streams(exact=exact, fitted=fitted)

    def save(self, index: int, layer: Mapping[str, QuantizedWeight], streams: Streams) -> None:
        """Keep layer `index`, and the streams after it instead of those before it."""
        tensors = {key: value for name in layer for key, value in _tensors(name, layer[name])}
        with whole_file(self._path("layer", index)) as part:
            save_file(tensors, part)
        rows = {
            f"{name}:{row}": value
            for name in _STREAM_NAMES
            for row, value in enumerate(getattr(streams, name))
        }
        with whole_file(self._path("streams", index + 1)) as part:
            save_file(rows, part)
        self._path("streams", index).unlink(missing_ok=True)

    def _path(self, kind: str, index: int) -> Path:
        return self._folder / f"{kind}-{index:03}.safetensors"


def store_key(
    checkpoint: Checkpoint, recipe: Recipe, sequences: Sequence[Sequence[int]]
) -> dict[str, str]:
    """What must be the same for a calibration to go on."""
    states = sorted((path.name, str(state)) for path, state in checkpoint.states.items())
    weights = {k: v for k, v in recipe.as_json().items() if k in ("weights", "calibrated")}
    return {
        "method": str(_METHOD_VERSION),
        "checkpoint": _digest([*states, *(row.weights_sha256 for row in checkpoint.adapters)]),
        "recipe": _digest(weights),
        "text": _digest([list(ids) for ids in sequences]),
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _tensors(name: str, weight: QuantizedWeight) -> list[tuple[str, Tensor]]:
    bits = torch.tensor(weight.bits)
    return [(f"{name}:codes", weight.codes_OI), (f"{name}:scales", weight.scales_OG),
            (f"{name}:bits", bits)]  # fmt: skip


def _weight(name: str, tensors: Mapping[str, Tensor]) -> QuantizedWeight:
    codes_OI, scales_OG, bits = (tensors[f"{name}:{part}"] for part in ("codes", "scales", "bits"))
    return QuantizedWeight(codes_OI=codes_OI, scales_OG=scales_OG, bits=int(bits))
