"""L3 for Cohere (Aya Expanse, Command R): no window, rotary positions everywhere, head norms."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from export.backends import BACKENDS, find_backend
from export.checkpoint import Checkpoint, open_checkpoint
from export.decoder.config import parse_config
from export.decoder.model import tensor_shapes
from export.decoder.reference import reference_logits
from export.golden import golden_tokens
from export.quantized import build_quantized
from quantize.recipe import find_recipe
from tests.conftest import NANO
from tests.programs.conftest import LIMITS, MakeBundle, fed, opened

pytestmark = pytest.mark.l3

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
    folder = tmp_path_factory.mktemp("cohere")
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: 1 + 0.1 * torch.randn(shape, generator=generator)
        if "norm" in name
        else torch.randn(shape, generator=generator) * 0.2
        for name, shape in tensor_shapes(parse_config(CONFIG)).items()
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(NANO / name, folder)
    return open_checkpoint(folder)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("recipe", "bound"), [("fp32", 2e-4), ("int4", 0.15)])
def test_program_computes_the_model(
    expanse: Checkpoint,
    make_bundle: MakeBundle,
    ids: list[int],
    backend: str,
    recipe: str,
    bound: float,
) -> None:
    folder = make_bundle(expanse, backend, recipe)
    golden = golden_tokens(expanse.folder / "tokenizer.json")
    model = build_quantized(expanse, find_recipe(recipe), golden)
    rounder = find_backend(backend).rounder
    expected = reference_logits(model, torch.tensor([ids]), rounder)[0].numpy()
    spread = expected.std()
    session = opened(folder)
    for lengths in ([1] * LIMITS.context, [4] * (LIMITS.context // 4), [3, 1] * 10):
        for position, logits in fed(session, ids, lengths).items():
            assert np.abs(logits - expected[position]).max() < bound * spread
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["model"]["model_type"] == "cohere"
    assert manifest["model"]["window"] is None
    assert {row["slots"] for row in manifest["cache"]} == {LIMITS.context}
