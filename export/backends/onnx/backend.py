"""Lowers a traced model to an ONNX program: the row `onnx` of the table BACKENDS."""

import json
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import onnxscript.optimizer
import torch

from tinyaya.export.backends.base import FOOTPRINTS, Program, Traceable, TracedModel
from tinyaya.export.backends.onnx.decoder import (
    DATA_FILE,
    GENAI_FILE,
    PREAMBLE_FILE,
    PROGRAM_FILE,
    OnnxDecoder,
    block_size,
)
from tinyaya.export.backends.onnx.genai_config import genai_config
from tinyaya.export.backends.onnx.head_rows import let_rows_be_chosen
from tinyaya.export.decoder.activations import Rounding, int8_blocks
from tinyaya.export.decoder.cache import cache_slots
from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.options import Limits
from tinyaya.export.source.tokenizer import Tokenizer
from tinyaya.quantize.groupwise import QuantizedWeight
from tinyaya.quantize.precision import Precision
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.runtime import Session, open_bundle
from tinyaya.runtime.engines.interface import (
    IDS_INPUT,
    LOGITS_OUTPUT,
    MASK_INPUT,
    ONNX_CACHE_PARTS,
    past_name,
    present_name,
)
from tinyaya.runtime.engines.onnx import OnnxEngine
from tinyaya.runtime.session import prefill_evenly

_PAGE_BYTES = 4096  # larger weights begin with one in the data file, so that they can be mapped
_SMALL_ALIGNMENT = 64  # of smaller ones
_MAX_FOLDED_VALUES = 64  # of constants that are folded at export
_MIN_DATA_BYTES = 1024  # smaller constants stay inside the graph


class OnnxBackend:
    """The row `onnx` of BACKENDS."""

    name = "onnx"
    footprint = FOOTPRINTS["onnx"]

    def traceable(
        self, model: QuantizedModel[DecoderConfig], limits: Limits, preamble: int = 0
    ) -> Traceable:
        """See `Backend`: the caches are the session's own, so a preamble changes nothing."""
        past = [
            torch.zeros(
                (1, layer.kv_heads, cache_slots(layer, limits), layer.head_dim),
                dtype=torch.int8 if scales else torch.float32,
            )
            for layer, scales in zip(model.config.layers, model.cache_scales, strict=True)
            for _ in ONNX_CACHE_PARTS
        ]
        dynamic = torch.export.Dim.DYNAMIC
        return Traceable(
            module=OnnxDecoder(model, limits),
            inputs=(
                torch.zeros(1, 2, dtype=torch.long),
                torch.ones(1, 4, dtype=torch.long),
                past,
            ),
            dynamic_shapes=({1: dynamic}, {1: dynamic}, [{2: dynamic} for _ in past]),
        )

    def rounder(self, weight: QuantizedWeight) -> Rounding:
        """See `Backend`."""
        return partial(int8_blocks, block=block_size(weight.group_size))

    def lower(self, traced: TracedModel, tokenizer: Tokenizer) -> Program:
        """See `Backend`."""
        layers = range(len(traced.config.layers))
        caches = [(layer, part) for layer in layers for part in ONNX_CACHE_PARTS]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch and onnxscript
            program = torch.onnx.export(
                traced.exported,
                input_names=[IDS_INPUT, MASK_INPUT, *(past_name(*cache) for cache in caches)],
                output_names=[LOGITS_OUTPUT, *(present_name(*cache) for cache in caches)],
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        if program is None:
            raise AssertionError("torch.onnx.export returned no program")
        # Scales stay as they are stored: ONNX Runtime folds them.
        onnxscript.optimizer.optimize_ir(program.model, input_size_limit=_MAX_FOLDED_VALUES)
        _forget_origins(program.model)
        let_rows_be_chosen(program.model)
        genai = genai_config(traced, tokenizer, PROGRAM_FILE)

        def write(folder: Path) -> None:
            _save(program.model, folder)
            (folder / GENAI_FILE).write_text(json.dumps(genai, indent=1) + "\n", encoding="utf-8")

        return Program(engine=self.name, file=PROGRAM_FILE, write=write)

    def keep_preamble(self, folder: Path, ids: Sequence[int]) -> str:
        """See `Backend`."""
        bundle = open_bundle(folder, check_hashes=False)
        engine = OnnxEngine(folder, bundle.manifest, None)
        prefill_evenly(Session(engine, bundle.tokenizer, bundle.manifest), ids)
        np.save(folder / PREAMBLE_FILE, engine.first_slots(len(ids)), allow_pickle=False)
        return PREAMBLE_FILE

    def stored_bytes(self, shape: tuple[int, ...], precision: Precision | None) -> int:
        """See `Backend`."""
        count = torch.Size(shape).numel()
        if precision is None:
            return 4 * count
        return count * precision.bits // 8 + count // (precision.group_size or shape[1]) * 2


def _forget_origins(model: onnx_ir.Model) -> None:
    """Drop stack traces and paths, three quarters of a graph."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()


def _save(model: onnx_ir.Model, folder: Path) -> None:
    """Write graph and weights; tensors that share memory share their place in the file."""
    places: dict[tuple[int, int], int] = {}
    alive: list[np.ndarray[Any, Any]] = []
    with (folder / DATA_FILE).open("wb") as file:
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < _MIN_DATA_BYTES:
                continue
            array = tensor.numpy()
            alive.append(array)  # else another array could get its address
            key = (array.__array_interface__["data"][0], tensor.nbytes)
            if key not in places:
                alignment = _PAGE_BYTES if tensor.nbytes > _PAGE_BYTES else _SMALL_ALIGNMENT
                file.write(b"\0" * (-file.tell() % alignment))
                places[key] = file.tell()
                flat = np.ascontiguousarray(array).reshape(-1)
                file.write(flat.view(np.uint8).data)  # tofile does not say that a disk is full
            value.const_value = onnx_ir.ExternalTensor(
                DATA_FILE,
                places[key],
                tensor.nbytes,
                tensor.dtype,
                shape=onnx_ir.Shape(array.shape),
                name=str(value.name),
                base_dir=folder,
            )
    onnx_ir.save(model, folder / PROGRAM_FILE)


BACKEND = OnnxBackend()
