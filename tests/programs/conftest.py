"""A small random model whose window is crossed at once, and programs made from it."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import NANO
from tinyaya.export.backends import find_backend
from tinyaya.export.backends.trace import trace_model
from tinyaya.export.bundle.preamble import ship_preamble
from tinyaya.export.bundle.tokenizer_proof import golden_tokens
from tinyaya.export.bundle.write import (
    BundleContent,
    write_manifest,
    write_reports,
    write_tokenizer,
)
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.options import Limits
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.quantize.recipe import find_recipe
from tinyaya.runtime import Session, open_bundle

WINDOW, LIMITS = 8, Limits(context=40, chunk=4)
CONFIG = {
    "model_type": "cohere2",
    "vocab_size": 10300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "sliding_window": WINDOW,
    "sliding_window_pattern": 4,
    "max_position_embeddings": 128,
    "rope_theta": 50000.0,
    "logit_scale": 0.5,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Random weights, 4 layers, window 8, 60 table rows without a token."""
    folder = tmp_path_factory.mktemp("tiny")
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.2
        if len(shape) == 2
        else 1 + 0.1 * torch.randn(shape, generator=generator)
        for name, shape in tensor_shapes(parse_config(CONFIG)).items()
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(NANO / name, folder)
    return open_checkpoint(folder)


@pytest.fixture(scope="session")
def ids() -> list[int]:
    """As many random ids as the context holds."""
    return np.random.default_rng(1).integers(12, 10000, LIMITS.context).tolist()


MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Make a bundle of a checkpoint, without any proof."""

    def make(
        checkpoint: Checkpoint,
        backend: str,
        recipe: str = "fp32",
        kv: str | None = None,
        preamble: Sequence[int] = (),
    ) -> Path:
        folder = tmp_path / f"{backend}-{recipe}-{kv}"
        folder.mkdir()
        chosen = find_backend(backend)
        golden = golden_tokens(checkpoint.folder / "tokenizer.json")
        chosen_recipe = replace(find_recipe(recipe, kv), calibrated=False)
        model = build_quantized(checkpoint, chosen_recipe, golden)
        traced = trace_model(model, LIMITS, chosen, len(preamble))
        program = chosen.lower(traced, checkpoint.tokenizer)
        program.write(folder)
        content = BundleContent(
            engine=program.engine,
            program=program.file,
            model=model,
            limits=LIMITS,
            tokenizer=checkpoint.tokenizer,
            golden=golden,
        )
        write_tokenizer(folder, checkpoint.tokenizer, backend)
        write_reports(folder, content)
        content = ship_preamble(folder, content, chosen, preamble)
        write_manifest(folder, content, {})
        return folder

    return make


def fed(session: Session, ids: Sequence[int], lengths: Sequence[int]) -> dict[int, np.ndarray]:
    """Position -> logits, for a sequence fed in pieces of the given lengths."""
    session.reset()
    logits, end = {}, 0
    for length in lengths:
        logits[end + length - 1] = session.prefill(ids[end : end + length])
        end += length
    return logits


def opened(folder: Path) -> Session:
    """Open a session on a bundle that a test may have changed."""
    return open_bundle(folder, check_hashes=False).session()
