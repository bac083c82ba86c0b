"""A small random model whose window is crossed at once, and programs made from it."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests import store
from tests.conftest import NANO
from tinyaya.export.backends import find_backend
from tinyaya.export.backends.base import Backend
from tinyaya.export.backends.trace import trace_model
from tinyaya.export.bundle.preamble import ship_preamble
from tinyaya.export.bundle.tokenizer_proof import golden_tokens
from tinyaya.export.bundle.write import BundleContent, write_files, write_manifest
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.config import parse_config
from tinyaya.export.decoder.model import tensor_shapes
from tinyaya.export.options import Limits
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.quantize.recipe import Recipe, find_recipe
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
    return random_checkpoint(tmp_path_factory.mktemp("tiny"), CONFIG)


@pytest.fixture(scope="session")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """As `tiny`, of a window layer and a global one: a .pte of it takes half the time."""
    layers = {"num_hidden_layers": 2, "sliding_window_pattern": 2}
    return random_checkpoint(tmp_path_factory.mktemp("shallow"), CONFIG | layers)


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """As `tiny`, of one global layer, where only the head matters."""
    layers = {"num_hidden_layers": 1, "sliding_window_pattern": 1}
    return random_checkpoint(tmp_path_factory.mktemp("lone"), CONFIG | layers)


def random_checkpoint(folder: Path, config: Mapping[str, object]) -> Checkpoint:
    """The same weights each time, with the tokenizer of nano."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.2
        if len(shape) == 2 and "norm" not in name
        else 1 + 0.1 * torch.randn(shape, generator=generator)
        for name, shape in tensor_shapes(parse_config(config)).items()
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(NANO / name, folder)
    return open_checkpoint(folder)


@pytest.fixture(scope="session")
def ids() -> list[int]:
    """As many random ids as the context holds."""
    return np.random.default_rng(1).integers(12, 10000, LIMITS.context).tolist()


MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(monkeypatch: pytest.MonkeyPatch) -> MakeBundle:
    """Make a bundle of a checkpoint, without any proof, or take what another test made.

    patched: what of the product the test has changed, in words; no other test is given that.
    """

    def make(
        checkpoint: Checkpoint,
        backend: str,
        recipe: str = "fp32",
        kv: str | None = None,
        preamble: Sequence[int] = (),
        patched: str = "",
    ) -> Path:
        assert patched or not monkeypatch._setattr, "expected `patched`: others take this bundle"
        chosen = replace(find_recipe(recipe, kv), calibrated=False)
        files = store.checkpoint_hash(checkpoint.folder)
        parts = (files, checkpoint.config, backend, chosen, LIMITS, (*preamble,), patched)

        def fill(folder: Path) -> None:
            write_bundle(folder, checkpoint, find_backend(backend), chosen, preamble)

        return store.keep(f"tiny-{backend}-{recipe}", parts, fill)

    return make


@pytest.fixture
def own_bundle(make_bundle: MakeBundle, tmp_path: Path) -> MakeBundle:
    """As `make_bundle`, for a test that changes files."""
    return lambda *args, **options: shutil.copytree(
        make_bundle(*args, **options), tmp_path / "own", dirs_exist_ok=True
    )


def write_bundle(
    folder: Path,
    checkpoint: Checkpoint,
    backend: Backend,
    recipe: Recipe,
    preamble: Sequence[int],
) -> None:
    """Fill an empty folder."""
    golden = golden_tokens(checkpoint.folder / "tokenizer.json")
    model = build_quantized(checkpoint, recipe, golden)
    traced = trace_model(model, LIMITS, backend, len(preamble))
    program = backend.lower(traced, checkpoint.tokenizer)
    program.write(folder)
    content = BundleContent(
        engine=program.engine,
        program=program.file,
        model=model,
        limits=LIMITS,
        tokenizer=checkpoint.tokenizer,
        golden=golden,
    )
    write_files(folder, content)
    content = ship_preamble(folder, content, backend, preamble)
    write_manifest(folder, content, {})


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
