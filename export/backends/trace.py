"""Traces a backend's decoder of a quantized model through torch.export."""

import operator
import warnings

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.passes.dialect.common.cse_pass import CSEPass

from tinyaya.export.backends.base import Backend, TracedModel
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.options import Limits
from tinyaya.quantize.quantizer import QuantizedModel


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
    _add_in_pairs(exported)
    return TracedModel(exported=exported, config=model.config, limits=limits)


def _merge_equal_nodes(exported: ExportedProgram) -> None:
    """Compute once what several projections compute of the same input (their planes)."""
    result = CSEPass()(exported.graph_module)
    if result is not None and result.modified:
        exported.graph_module.graph = result.graph_module.graph
        exported.graph_module.recompile()


def _add_in_pairs(exported: ExportedProgram) -> None:
    """Write `sym_sum` of sizes, which ExecuTorch does not know, as additions."""
    for module in exported.graph_module.modules():
        if not isinstance(module, GraphModule):
            continue
        for node in module.graph.find_nodes(op="call_function", target=torch.sym_sum):
            with module.graph.inserting_before(node):
                total, *rest = node.args[0]
                for term in rest:
                    total = module.graph.call_function(operator.add, (total, term))
            total.meta = node.meta
            node.replace_all_uses_with(total)
            module.graph.erase_node(node)
        module.recompile()
