"""Defines what the pipeline and its backends share: traced model, program, backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # devices look Footprints up, without torch
    from torch import nn
    from torch.export import ExportedProgram

    from tinyaya.export.decoder.activations import Rounding
    from tinyaya.export.decoder.config import DecoderConfig
    from tinyaya.export.options import Limits
    from tinyaya.export.source.tokenizer import Tokenizer
    from tinyaya.quantize.groupwise import QuantizedWeight
    from tinyaya.quantize.precision import Precision
    from tinyaya.quantize.quantizer import QuantizedModel


@dataclass(frozen=True, kw_only=True)
class Traceable:
    """A module with example inputs and what of their shapes may vary."""

    module: nn.Module
    inputs: tuple[Any, ...]
    dynamic_shapes: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class TracedModel:
    """The graph of one step, with the sizes that it was traced for."""

    exported: ExportedProgram
    config: DecoderConfig
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class Program:
    """What an engine runs: `write` puts it into a folder, `file` is the name to open."""

    engine: str
    file: str
    write: Callable[[Path], None]


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a backend takes beside the weights' own bytes; measured, see docs/decisions.md.

    graph_bytes: on disk, a layer. engine_bytes: resident on devices, whatever the model.
    resident_share: resident bytes a byte of stored weights. export_bytes, export_share: likewise
    for the export's peak, beside the quantized model itself. layer_seconds, gb_seconds: from
    tracing to the last proof, a layer and a GB of stored weights, on the machine of
    `plan/verdict.py`.
    """

    graph_bytes: int
    engine_bytes: int
    resident_share: float
    export_bytes: int
    export_share: float
    layer_seconds: float
    gb_seconds: float


class Backend(Protocol):
    """One row of the table."""

    name: str
    footprint: Footprint

    def traceable(
        self, model: QuantizedModel[DecoderConfig], limits: Limits, preamble: int = 0
    ) -> Traceable:
        """The decoder of this backend's leaves, ready to trace.

        preamble: ids that prompts begin with, whose keys and values `keep_preamble` provides.
        """

    def rounder(self, weight: QuantizedWeight) -> Rounding:
        """How the engine rounds the activations that this weight multiplies."""

    def lower(self, traced: TracedModel, tokenizer: Tokenizer) -> Program:
        """The program of a traced model."""

    def keep_preamble(self, folder: Path, ids: Sequence[int]) -> str | None:
        """Feed `ids` to the bundle in `folder`; keep their keys and values for its sessions.

        The name of the file that holds them; None: the program itself does.
        """

    def stored_bytes(self, shape: tuple[int, ...], precision: Precision | None) -> int:
        """Bytes on disk of one weight."""


FOOTPRINTS = {
    "onnx": Footprint(
        graph_bytes=32_000,
        engine_bytes=80_000_000,
        resident_share=1.21,
        export_bytes=475_000_000,
        export_share=2.0,
        layer_seconds=0.4,
        gb_seconds=13.0,
    ),
    "executorch": Footprint(
        graph_bytes=64_000,
        engine_bytes=200_000_000,  # the native engine's; with torch 590 MB more
        resident_share=0.94,
        export_bytes=580_000_000,
        export_share=3.75,
        layer_seconds=4.5,
        gb_seconds=21.0,
    ),
}
