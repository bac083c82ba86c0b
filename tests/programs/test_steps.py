"""L3: the program equals the eager model step by step, and the comparison can fail."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.programs.conftest import LIMITS, MakeBundle, fed, opened
from tests.random_checkpoint import WINDOW
from tinyaya.export.backends import BACKENDS
from tinyaya.export.backends.executorch import decoder as executorch_decoder
from tinyaya.export.bundle.tokenizer_proof import golden_tokens
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.proof.kl import kl
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.recipe import find_recipe
from tinyaya.runtime import Session

pytestmark = pytest.mark.l3

UNUSED = slice(10240, 10300)
TOLERANCE = 1e-4
CHUNKINGS = {
    "one by one": [1] * LIMITS.context,
    "to the edge - 1": [4, 3, 1, 1, 1, 1, 4, 4, 4, 1, 1],
    "to the edge": [4, 4, 1, 1, 1, 4, 1, 4, 4],
    "to the edge + 1": [4, 4, 1, 4, 4, 4, 3, 1, 1],
    "to two windows": [4, 4, 4, 4, 1, 1, 1, 4],
    "ragged": [3, 2, 4, 1, 4, 3, 3, 4, 1, 2, 4, 4, 4, 1],
}


def reference(
    checkpoint: Checkpoint, ids: list[int], recipe: str = "fp32", kv: str = "fp32"
) -> np.ndarray:
    """Logits_TV of the eager model at every position; -inf where no token is."""
    golden = golden_tokens(checkpoint.tokenizer.encoder())
    chosen = replace(find_recipe(recipe, kv), calibrated=False)
    model = build_quantized(checkpoint, chosen, golden)
    logits = reference_logits(model, torch.tensor([ids]))[0].numpy()
    logits[:, UNUSED] = -np.inf
    return logits


def difference(session: Session, ids: list[int], expected: np.ndarray) -> float:
    """Largest difference of any logit, over all chunkings."""
    worst = 0.0
    for lengths in CHUNKINGS.values():
        for position, logits in fed(session, ids, lengths).items():
            used = np.isfinite(expected[position])
            assert (np.isfinite(logits) == used).all()
            worst = max(worst, np.abs(logits[used] - expected[position][used]).max())
    return worst


@pytest.mark.parametrize("backend", BACKENDS)
def test_program_equals_model_at_every_step(
    tiny: Checkpoint, ids: list[int], backend: str, make_bundle: MakeBundle
) -> None:
    session = opened(make_bundle(tiny, backend))
    assert difference(session, ids, reference(tiny, ids)) < TOLERANCE


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "mutant", ["window - 1", "window + 1", "rope on the global layer", "half-split rope"]
)
def test_mutant_is_found(
    shallow: Checkpoint,
    ids: list[int],
    backend: str,
    mutant: str,
    own_bundle: MakeBundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = shallow.config.layers
    if mutant.startswith("window"):
        window = WINDOW + (1 if "+" in mutant else -1)
        layers = tuple(replace(layer, window=layer.window and window) for layer in layers)
    if mutant.startswith("rope"):
        layers = tuple(replace(layer, rotary=True) for layer in layers)
    if mutant.startswith("half"):
        monkeypatch.setattr(executorch_decoder, "rotate", half_split_rotate)
    changed = replace(shallow, config=replace(shallow.config, layers=layers))
    folder = own_bundle(changed, backend, patched=mutant)
    if mutant.startswith("half") and backend == "onnx":
        set_half_split(folder)
    assert difference(opened(folder), ids, reference(shallow, ids)) > 100 * TOLERANCE


def half_split_rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate as Llama does: the pairs are (0, E/2), (1, E/2 + 1) ..."""
    low, high = x.chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)


def set_half_split(folder: Path) -> None:
    """Clear `rotary_interleaved` in all attention nodes of an ONNX bundle."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "rotary_interleaved":
                attribute.i = 0
    onnx.save(model, folder / "model.onnx")


@pytest.mark.parametrize("backend", BACKENDS)
def test_program_with_8_bit_caches_rounds_as_the_model_does(
    tiny: Checkpoint, ids: list[int], backend: str, make_bundle: MakeBundle
) -> None:
    """A code at a rounding edge may fall either way, so the mean KL is judged, not each logit."""
    session = opened(make_bundle(tiny, backend, "fp32", "int8"))
    rounded, exact = reference(tiny, ids, kv="int8"), reference(tiny, ids)
    of_codes = kl(exact, rounded).mean()
    assert of_codes > 1e-6
    for lengths in CHUNKINGS.values():
        program = fed(session, ids, lengths)
        positions, logits = list(program), np.stack(list(program.values()))
        assert kl(rounded[positions], logits).mean() < 0.05 * of_codes
        assert kl(exact[positions], logits).mean() > 0.5 * of_codes


@pytest.mark.parametrize("backend", BACKENDS)
def test_8_bit_scales_of_another_layer_are_seen(
    tiny: Checkpoint, ids: list[int], backend: str, make_bundle: MakeBundle
) -> None:
    """The mutant: every layer has the scales of the one before it."""
    golden = golden_tokens(tiny.tokenizer.encoder())
    model = build_quantized(tiny, find_recipe("fp32", "int8"), golden)
    scales = model.cache_scales
    other = replace(model, cache_scales=[scales[-1], *scales[:-1]])
    session = opened(make_bundle(tiny, backend, "fp32", "int8"))
    logits = fed(session, ids, CHUNKINGS["ragged"])
    positions = list(logits)
    wrong = reference_logits(other, torch.tensor([ids]))[0, positions].numpy()
    wrong[:, UNUSED] = -np.inf
    right = reference(tiny, ids, kv="int8")[positions]
    program = np.stack(list(logits.values()))
    assert kl(wrong, program).mean() > 20 * kl(right, program).mean()
