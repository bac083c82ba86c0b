"""Lowers a traced model to a .pte: the row `executorch` of the table BACKENDS."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch.ao.quantization.fx._decomposed
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
from torch import Tensor

from tinyaya.export.backends.base import FOOTPRINTS, Program, Traceable, TracedModel
from tinyaya.export.backends.executorch.decoder import PROGRAM_FILE, ExecuTorchDecoder
from tinyaya.export.backends.executorch.head_rows import rows_in_xnnpack
from tinyaya.export.backends.executorch.placeholders import fill_placeholders
from tinyaya.export.backends.executorch.runner_methods import runner_methods
from tinyaya.export.backends.executorch.shared_segments import share_segments
from tinyaya.export.backends.executorch.xnnpack_passes import needed_passes
from tinyaya.export.decoder.activations import Rounding, int8_rows
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.options import Limits
from tinyaya.export.source.tokenizer import Tokenizer
from tinyaya.quantize.groupwise import QuantizedWeight
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.runtime import Session, open_bundle
from tinyaya.runtime.engines.executorch import ExecutorchEngine
from tinyaya.runtime.engines.interface import PTE_CACHE_PARTS, attention_name
from tinyaya.runtime.session import prefill_evenly


class ExecuTorchBackend:
    """The row `executorch` of BACKENDS."""

    name = "executorch"
    footprint = FOOTPRINTS["executorch"]

    def traceable(
        self, model: QuantizedModel[DecoderConfig], limits: Limits, preamble: int = 0
    ) -> Traceable:
        """See `Backend`."""
        module = ExecuTorchDecoder(model, limits)
        if preamble:
            module.hold_preamble(preamble)
        tokens = torch.export.Dim("tokens", min=1, max=limits.chunk)
        example = torch.zeros(1, min(2, limits.chunk), dtype=torch.long)
        return Traceable(
            module=module,
            inputs=(example, torch.zeros(1, dtype=torch.long)),
            dynamic_shapes=({1: tokens} if limits.chunk > 1 else None, None),
        )

    def rounder(self, weight: QuantizedWeight) -> Rounding:
        """See `Backend`."""
        return int8_rows

    def lower(self, traced: TracedModel, tokenizer: Tokenizer) -> Program:
        """See `Backend`."""
        with warnings.catch_warnings(), rows_in_xnnpack(), needed_passes():
            warnings.simplefilter("ignore")  # deprecations inside torch and executorch
            edge = to_edge_transform_and_lower(
                traced.exported,
                partitioner=[XnnpackPartitioner()],
                compile_config=EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True),
                constant_methods=runner_methods(traced, tokenizer),
            )
            program = edge.to_executorch(
                ExecutorchBackendConfig(
                    memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False),
                    sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
                    extract_delegate_segments=True,
                    emit_mutable_buffer_names=True,  # `keep_preamble` asks for them
                )
            )

        def write(folder: Path) -> None:
            with (folder / PROGRAM_FILE).open("wb") as file:
                program.write_to_file(file)
            share_segments(folder / PROGRAM_FILE)

        return Program(engine=self.name, file=PROGRAM_FILE, write=write)

    def keep_preamble(self, folder: Path, ids: Sequence[int]) -> None:
        """See `Backend`: the program's own constants."""
        fill_placeholders(folder / PROGRAM_FILE, _computed(folder, ids))

    def stored_bytes(self, shape: tuple[int, ...], precision: Precision | None) -> int:
        """See `Backend`."""
        count = torch.Size(shape).numel()
        if precision is None:
            return 4 * count
        group, scale_bytes = precision.group_size or shape[1], 2 if precision.group_size else 4
        return count * precision.bits // 8 + count // group * scale_bytes


def _computed(folder: Path, ids: Sequence[int]) -> dict[str, Tensor]:
    """What the caches hold after `ids`; nothing has the program open when this returns."""
    bundle = open_bundle(folder, check_hashes=False)
    engine = ExecutorchEngine(folder, bundle.manifest, None)
    prefill_evenly(Session(engine, bundle.tokenizer, bundle.manifest), ids)
    layers = range(bundle.manifest.model.layers)
    names = [f"{attention_name(layer)}.{part}" for layer in layers for part in PTE_CACHE_PARTS]
    return {name: torch.from_numpy(engine.buffer(name)[:, : len(ids)].copy()) for name in names}


BACKEND = ExecuTorchBackend()
