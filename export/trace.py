"""quantized model -> traced model: a backend's decoder through torch.export."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx.passes.dialect.common.cse_pass import CSEPass

from export.backends import Backend
from export.decoder.config import DecoderConfig
from export.options import Limits
from quantize.quantizer import QuantizedModel


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


def trace_model(
    model: QuantizedModel[DecoderConfig],
    limits: Limits,
    backend: Backend,
    preamble: int = 0,
) -> TracedModel:
    """Trace one step of up to `limits.chunk` tokens, built from the backend's leaves.

    preamble: as for `Backend.traceable`.
    """
    traceable = backend.traceable(model, limits, preamble)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch and executorch
        exported = torch.export.export(
            traceable.module.eval(),
            traceable.inputs,
            dynamic_shapes=traceable.dynamic_shapes,
            strict=False,
        )
    _merge_equal_nodes(exported)
    return TracedModel(exported=exported, config=model.config, limits=limits)


def _merge_equal_nodes(exported: ExportedProgram) -> None:
    """Compute once what several projections compute of the same input (their planes)."""
    result = CSEPass()(exported.graph_module)
    if result is not None and result.modified:
        exported.graph_module.graph = result.graph_module.graph
        exported.graph_module.recompile()
