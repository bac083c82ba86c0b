"""L3 and L5: evicted slots do not matter, and caches are as large as planned."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.programs.conftest import LIMITS, MakeBundle
from tests.programs.test_steps import CHUNKINGS, TOLERANCE, reference
from tests.random_checkpoint import WINDOW
from tinyaya.export.backends import find_backend
from tinyaya.export.backends.executorch import runner_methods
from tinyaya.export.backends.executorch.decoder import ExecuTorchDecoder
from tinyaya.export.backends.trace import trace_model
from tinyaya.export.decoder.cache import cache_slots
from tinyaya.export.plan.estimate import kv_cache_bytes
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.quantizer import quantize_model
from tinyaya.quantize.recipe import RECIPES, find_recipe
from tinyaya.runtime import read_manifest

SLOTS = [11, 11, 11, 40]  # window 8 + chunk 4 - 1, and the context


@pytest.mark.l3
@pytest.mark.parametrize("lengths", CHUNKINGS.values(), ids=CHUNKINGS.keys())
def test_onnx_never_reads_evicted_slots(
    tiny: Checkpoint, ids: list[int], lengths: list[int], onnx_session: onnxruntime.InferenceSession
) -> None:
    """Rows that the operator calls unspecified are NaN at each step, those it keeps are huge."""
    expected = reference(tiny, ids)
    caches = {
        f"{index}.{part}": np.full((1, 2, slots, 16), np.nan, np.float32)
        for index, slots in enumerate(SLOTS)
        for part in ("key", "value")
    }
    end = 0
    for length in lengths:
        for name, cache in caches.items():
            held = resident(end, cache.shape[2])
            cache[:, :, held:] = np.nan
            if name[0] != "3":
                cache[:, :, : max(0, held - WINDOW + 1)] = 1e30
        feed = {f"past_key_values.{name}": cache for name, cache in caches.items()}
        feed["input_ids"] = np.array([ids[end : end + length]], np.int64)
        feed["attention_mask"] = np.ones((1, end + length), np.int64)
        logits, *present = onnx_session.run(None, feed)
        caches = dict(zip(caches, present, strict=True))
        end += length
        used = np.isfinite(expected[end - 1])
        assert np.abs(logits[0, 0] - expected[end - 1])[used].max() < TOLERANCE


@pytest.fixture(scope="module")
def onnx_session(
    tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> onnxruntime.InferenceSession:
    """The tiny model's program, opened without our own engine."""
    folder, backend = tmp_path_factory.mktemp("onnx"), find_backend("onnx")
    model = quantize_model(tiny, RECIPES["fp32"])
    backend.lower(trace_model(model, LIMITS, backend), tiny.tokenizer).write(folder)
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def resident(end: int, slots: int) -> int:
    """Rows that a cache holds after `end` positions, from the operator's documentation."""
    if end <= slots:
        return end
    gap = slots - WINDOW + 1
    return end - gap * -(-(end - slots) // gap)


@pytest.mark.l3
@pytest.mark.parametrize("lengths", CHUNKINGS.values(), ids=CHUNKINGS.keys())
def test_executorch_ring_never_shows_evicted_slots(
    tiny: Checkpoint, ids: list[int], lengths: list[int]
) -> None:
    """ExecuTorch's attention multiplies masked slots by zero, so the poison is huge, not NaN."""
    expected = reference(tiny, ids)
    module = ExecuTorchDecoder(quantize_model(tiny, RECIPES["fp32"]), LIMITS)
    rings = [
        buffer
        for block in list(module.decoder.blocks)[:3]
        for name, buffer in block.attend.named_buffers()
    ]
    end = 0
    for length in lengths:
        for slot in range(SLOTS[0]):
            newest = end - 1 - (end - 1 - slot) % SLOTS[0]  # the position that the slot holds
            if newest <= end - WINDOW:
                for ring in rings:
                    ring[:, slot] = 1e30
        with torch.no_grad():
            logits = module(torch.tensor([ids[end : end + length]]), torch.tensor([end]))
        end += length
        used = np.isfinite(expected[end - 1])
        assert np.abs(logits[0, -1].numpy() - expected[end - 1])[used].max() < TOLERANCE


@pytest.mark.l5
def test_caches_hold_window_plus_chunk_slots(tiny: Checkpoint, make_bundle: MakeBundle) -> None:
    assert [cache_slots(layer, LIMITS) for layer in tiny.config.layers] == SLOTS
    for kv, value_bytes in (("fp32", 4), ("int8", 1)):
        manifest = read_manifest(make_bundle(tiny, "onnx", "int4", kv))
        expected = 2 * value_bytes * 2 * 16 * sum(SLOTS)
        assert [cache.slots for cache in manifest.cache] == SLOTS
        assert sum(cache.slots * cache.position_bytes for cache in manifest.cache) == expected
        assert kv_cache_bytes(tiny.config, LIMITS, find_recipe("int4", kv)) == expected


@pytest.mark.l5
def test_onnx_graph_windows_exactly_the_window_layers(
    tiny: Checkpoint, make_bundle: MakeBundle
) -> None:
    graph = onnx.load(make_bundle(tiny, "onnx", "int4") / "model.onnx", load_external_data=False)
    attributes = [
        {a.name: a.i for a in node.attribute}
        for node in graph.graph.node
        if node.op_type == "GroupQueryAttention"
    ]
    assert [a.get("local_window_size") for a in attributes] == [WINDOW, WINDOW, WINDOW, None]
    assert [a.get("sliding_window_cache") for a in attributes] == [1, 1, 1, None]
    assert [a.get("do_rotary") for a in attributes] == [1, 1, 1, None]


@pytest.mark.l5
def test_executorch_program_mutates_caches_of_the_planned_shapes(tiny: Checkpoint) -> None:
    model = quantize_model(tiny, RECIPES["int4"])
    module = find_backend("executorch").traceable(model, LIMITS).module
    shapes = {
        name: tuple(buffer.shape)
        for name, buffer in module.named_buffers()
        if name.endswith(("keys", "values"))
    }
    assert shapes == {
        f"decoder.blocks.{index}.attend.{part}": (1, slots, 2, 16)
        for index, slots in enumerate(SLOTS)
        for part in ("keys", "values")
    }


@pytest.mark.l5
@pytest.mark.parametrize(("backend", "rows"), [("onnx", 1), ("executorch", 2)])
def test_few_positions_reach_the_head(
    tiny: Checkpoint, backend: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No buffer of chunk x vocabulary exists: the head's product has as many rows as are told."""
    monkeypatch.setattr(runner_methods, "LOGIT_ROWS", 2)
    model = quantize_model(tiny, RECIPES["fp32"])
    traced = trace_model(model, LIMITS, find_backend(backend))
    wide = [
        node.meta["val"].shape
        for node in traced.exported.graph.nodes
        if node.op == "call_function"
        and isinstance(node.meta.get("val"), torch.Tensor)
        and node.meta["val"].dim() == 3
        and node.meta["val"].shape[-1] == tiny.config.vocab_size
    ]
    assert wide and {_most(shape[1]) for shape in wide} == {rows} and rows < LIMITS.chunk


def _most(size: int | torch.SymInt) -> int:
    if isinstance(size, int):
        return size
    return int(size.node.shape_env.bound_sympy(size.node.expr).upper)


@pytest.mark.l5
def test_onnx_stores_the_tied_table_once(tiny: Checkpoint, make_bundle: MakeBundle) -> None:
    folder: Path = make_bundle(tiny, "onnx", "int8")
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}["offset"]
        for tensor in graph.graph.initializer
        if tensor.name in ("decoder.embedding.codes", "decoder.head.codes")
    }
    assert len(places) == 2
    assert len(set(places.values())) == 1
