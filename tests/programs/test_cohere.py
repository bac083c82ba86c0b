"""L3 for Cohere (Aya Expanse, Command R): no window, rotary positions everywhere, head norms."""

import json

import numpy as np
import pytest
import torch

from tests.programs.conftest import LIMITS, MakeBundle, fed, opened
from tests.random_checkpoint import random_checkpoint
from tinyaya.export.backends import BACKENDS
from tinyaya.export.bundle.tokenizer_proof import golden_tokens
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.proof.kl import kl
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.recipe import find_recipe

pytestmark = pytest.mark.l3

TOLERANCE = 1e-4
CONFIG = {
    "model_type": "cohere",
    "vocab_size": 10240,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rope_theta": 10000.0,
    "logit_scale": 0.125,
    "use_qk_norm": True,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


@pytest.fixture(scope="module")
def expanse(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Random weights, 2 layers."""
    return random_checkpoint(tmp_path_factory.mktemp("cohere"), CONFIG)


def reference(checkpoint: Checkpoint, ids: list[int], kv: str) -> np.ndarray:
    """Logits_TV of the eager model at every position."""
    golden = golden_tokens(checkpoint.tokenizer.encoder())
    model = build_quantized(checkpoint, find_recipe("fp32", kv), golden)
    return reference_logits(model, torch.tensor([ids]))[0].numpy()


@pytest.mark.parametrize("backend", BACKENDS)
def test_program_equals_model_at_every_step(
    expanse: Checkpoint, make_bundle: MakeBundle, ids: list[int], backend: str
) -> None:
    folder = make_bundle(expanse, backend)
    session, expected = opened(folder), reference(expanse, ids, "fp32")
    for lengths in ([1] * LIMITS.context, [4] * (LIMITS.context // 4), [3, 1] * 10):
        for position, logits in fed(session, ids, lengths).items():
            assert np.abs(logits - expected[position]).max() < TOLERANCE
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["model"]["model_type"] == "cohere"
    assert manifest["model"]["window"] is None
    assert {row["slots"] for row in manifest["cache"]} == {LIMITS.context}


@pytest.mark.parametrize("backend", BACKENDS)
def test_8_bit_caches_round_as_the_model_does(
    expanse: Checkpoint, make_bundle: MakeBundle, ids: list[int], backend: str
) -> None:
    session = opened(make_bundle(expanse, backend, "fp32", "int8"))
    rounded, exact = (reference(expanse, ids, kv) for kv in ("int8", "fp32"))
    of_codes = kl(exact, rounded).mean()
    program = fed(session, ids, [4] * (LIMITS.context // 4))
    positions, logits = list(program), np.stack(list(program.values()))
    assert of_codes > 1e-7
    assert kl(rounded[positions], logits).mean() < 0.05 * of_codes
