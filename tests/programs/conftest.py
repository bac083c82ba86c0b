"""A small random model whose window is crossed at once, and programs made from it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import store
from tinyaya.export.backends import find_backend
from tinyaya.export.backends.base import Backend
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
from tinyaya.export.options import Limits
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.export.system.allocator import rare_collections
from tinyaya.quantize.recipe import Recipe, find_recipe
from tinyaya.runtime import Session, open_bundle

LIMITS = Limits(context=40, chunk=4)


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
    golden = golden_tokens(checkpoint.tokenizer.encoder())
    model = build_quantized(checkpoint, recipe, golden)
    traced = trace_model(model, LIMITS, backend, len(preamble))
    with rare_collections():
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
    write_tokenizer(folder, checkpoint.tokenizer, backend.name)
    write_reports(folder, content)
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
