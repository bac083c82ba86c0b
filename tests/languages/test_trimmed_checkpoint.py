"""The view of a trimmed checkpoint: rows of the table on disk, and everything else as it was."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.languages.conftest import Trimmed
from tinyaya.export.bundle.tokenizer_proof import golden_tokens
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.options import CalibrationOptions
from tinyaya.export.proof.parity import float_model
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.export.vocabulary.trim import KeptRows, open_as, ranges_of, trim_as
from tinyaya.quantize.groupwise import QuantizedWeight
from tinyaya.quantize.recipe import find_recipe
from tinyaya.runtime.errors import OptionError

TABLE = "model.embed_tokens.weight"


@pytest.mark.parametrize(
    "kept", [[0], [5, 6, 7], [0, 3, 900, 901, 10239, 10239], list(range(0, 10240, 7))]
)
def test_rows_are_those_on_disk(nano: Checkpoint, kept: list[int]) -> None:
    whole = nano.read(TABLE)
    rows = KeptRows.of(nano.tensors[TABLE], kept)
    assert rows.shape == (len(kept), 256)
    assert torch.equal(rows.read(), whole[kept])
    middle = range(len(kept) // 3, len(kept))
    assert torch.equal(rows.read(middle), whole[kept][middle.start :])


def test_memory_stays_small_whatever_is_kept(
    nano: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = type(nano.tensors[TABLE]).read, []

    def watched(self: object, rows: range | None = None) -> torch.Tensor:
        assert rows is not None
        seen.append(len(rows))
        return read(self, rows)  # type: ignore[arg-type]

    rows = KeptRows.of(nano.tensors[TABLE], range(0, 10240, 2))
    monkeypatch.setattr(type(nano.tensors[TABLE]), "read", watched)
    rows.read()
    assert max(seen) <= 4096 and len(seen) == 3


def test_logits_of_kept_tokens_are_the_whole_models(trimmed_nano: Trimmed) -> None:
    view = trimmed_nano("sw", "en")
    assert view.trim
    kept = list(view.trim.kept)
    ids = torch.tensor([[view.tokenizer.bos, *range(300, 500)]])
    whole = reference_logits(float_model(view.whole), torch.tensor(kept)[ids])
    own = reference_logits(float_model(view), ids)
    assert torch.equal(own[..., : len(kept)], whole[..., kept])


def test_quantized_weights_are_the_whole_models(trimmed_nano: Trimmed) -> None:
    """Scales of caches and calibrated weights too, which are measured on text."""
    view, recipe = trimmed_nano("hi"), replace(find_recipe("int4"), calibrated=True)
    assert view.trim
    kept = list(view.trim.kept)
    whole, own = (
        build_quantized(
            source,
            recipe,
            golden_tokens(source.tokenizer.encoder()),
            CalibrationOptions(tokens=800),
        )
        for source in (view.whole, view)
    )
    for name, weight in whole.weights.items():
        mine = own.weights[name]
        if isinstance(weight, QuantizedWeight):
            assert isinstance(mine, QuantizedWeight)
            rows = kept if name == TABLE else slice(None)
            assert torch.equal(mine.codes_OI[: len(kept)], weight.codes_OI[rows])
            assert torch.equal(mine.scales_OG[: len(kept)], weight.scales_OG[rows])
    for scales, others in zip(whole.cache_scales, own.cache_scales, strict=True):
        if scales:
            assert others and torch.equal(scales.keys_KE, others.keys_KE)
            assert torch.equal(scales.values_KE, others.values_KE)


def test_a_view_is_made_again_from_a_manifest(nano: Checkpoint, trimmed_nano: Trimmed) -> None:
    view = trimmed_nano("hi")
    assert view.trim
    said = {
        "languages": ["hi"],
        "keep": "safe",
        "rows": 10240,
        "kept": ranges_of(view.trim.kept),
    }
    again = trim_as(nano, said)
    assert again.trim and again.trim.kept == view.trim.kept
    assert again.tokenizer == view.tokenizer and again.config == view.config
    assert trim_as(nano, None) is nano
    for change in ({"rows": 999}, {"kept": [[5000, 5100]]}, {"kept": [[0, 20000]]}, {"kept": 3}):
        with pytest.raises(OptionError, match="another model"):
            trim_as(nano, {**said, **change})


def test_a_bundle_of_another_model_is_refused(nano: Checkpoint) -> None:
    config, layer = nano.config, nano.config.layers[0]
    own = {
        "vocab_size": config.vocab_size,
        "layers": len(config.layers),
        "width": config.width,
        "window": config.window,
        "heads": layer.heads,
        "kv_heads": layer.kv_heads,
        "head_dim": layer.head_dim,
    }

    def bundle(**other: int) -> Any:
        model = SimpleNamespace(**{**own, **other})
        manifest = SimpleNamespace(model=model, vocabulary=None, adapters=())
        return SimpleNamespace(manifest=manifest, folder=Path("made-up"))

    assert open_as(nano.folder, bundle()).config == config
    for name in own:
        with pytest.raises(OptionError, match="another model than the one in made-up"):
            open_as(nano.folder, bundle(**{name: 3}))


def test_ranges() -> None:
    assert ranges_of([0, 1, 2, 5, 7, 8]) == [[0, 3], [5, 6], [7, 9]]
    assert ranges_of([4]) == [[4, 5]]
