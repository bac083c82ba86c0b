"""Losses of single weights are those of a model with that one weight changed; budgets keep them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from tinyaya.export.backends import find_backend
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.plan.estimate import weights_bytes
from tinyaya.export.proof.parity import float_model
from tinyaya.export.quality import sensitivity
from tinyaya.export.quality.budget_recipe import budget_recipe, parse_size
from tinyaya.export.quality.heatmap import draw_heatmap
from tinyaya.export.quality.kept_losses import KeptLosses
from tinyaya.export.quality.loss import Loss
from tinyaya.export.quality.sensitivity import (
    PRECISION_OPTIONS,
    _layers,
    global_to_window,
    measure_losses,
)
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.errors import BudgetError
from tinyaya.quantize.gptq import quantize_calibrated
from tinyaya.quantize.quantizer import quantize_model
from tinyaya.quantize.recipe import Recipe, find_recipe, parse_recipe
from tinyaya.quantize.roles import PROJECTIONS, LayerKind, Role
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Silent

INT4 = replace(find_recipe("int4"), calibrated=False)


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return torch.randint(12, 10000, (3, 24), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def losses(tiny: Checkpoint, rows: torch.Tensor) -> list[Loss]:
    return list(measured(tiny, rows))


def measured(checkpoint: Checkpoint, rows: torch.Tensor, name: str = "all") -> Iterator[Loss]:
    """Kept under `name`."""
    kept = KeptLosses(checkpoint, {"test": name}, lambda text: None)
    return measure_losses(checkpoint, rows, rows.tolist(), kept, Silent())


def test_what_was_measured_before_a_kill_is_not_measured_again(
    tiny: Checkpoint,
    rows: torch.Tensor,
    losses: list[Loss],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed in the third layer, and in the middle of a write."""
    done, fit = [], sensitivity._layer_losses

    def dies_in_the_third(*arguments: object) -> Iterator[Loss]:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(arguments)
        return fit(*arguments)

    monkeypatch.setattr(sensitivity, "_layer_losses", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        list(measured(tiny, rows, "killed"))
    path = KeptLosses(tiny, {"test": "killed"}, lambda text: None)._path
    with path.open("a") as file:
        file.write('[{"layer": 2, "ki')
    done.clear()
    monkeypatch.setattr(sensitivity, "_layer_losses", lambda *args: done.append(args) or fit(*args))
    assert list(measured(tiny, rows, "killed")) == losses
    assert len(done) == 2
    assert list(measured(tiny, rows, "killed")) == losses
    assert len(done) == 2


def test_a_cache_that_cannot_be_written_is_told_once(
    tiny: Checkpoint, losses: list[Loss], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    notes: list[str] = []
    kept = KeptLosses(tiny, {}, notes.append)
    for _ in range(2):
        kept.add((losses[0],))
    assert len(notes) == 1 and "begins anew" in notes[0]
    assert kept.read() == {}


def test_every_weight_at_every_precision_it_can_have(losses: list[Loss]) -> None:
    found = {(row.layer, row.role) for row in losses}
    assert found == {(layer, role) for layer in range(4) for role in PROJECTIONS}
    wide = {row.option for row in losses if row.role is Role.QUERY}
    assert wide == {"4 bits, groups of 64", "4 bits, groups of 32", "8 bits"}  # 64 inputs
    assert {row.kind for row in losses if row.layer == 3} == {LayerKind.GLOBAL}
    assert all(row.kl > 0 for row in losses)


@pytest.mark.parametrize(("layer", "role"), [(0, "q_proj"), (1, "down_proj"), (3, "k_proj")])
def test_loss_is_the_kl_of_the_changed_model(
    tiny: Checkpoint, rows: torch.Tensor, losses: list[Loss], layer: int, role: str
) -> None:
    """The whole model again, with one weight fitted to what it multiplies."""
    part = "mlp" if role == "down_proj" else "self_attn"
    place = {"q_proj": Role.QUERY, "down_proj": Role.DOWN, "k_proj": Role.KEY}[role]
    name, option = f"{part}.{role}", "4 bits, groups of 32"
    math, grams = next(islice(_layers(tiny, rows.tolist()), layer, None))
    fitted = quantize_calibrated(math.exact[name], grams()[name], PRECISION_OPTIONS[option])
    changed = quantize_model(
        tiny,
        Recipe(
            name="one", weights={f"{layer}.{place}": PRECISION_OPTIONS[option]}, calibrated=True
        ),
        fitted={math.names[name]: fitted},
    )
    expected = reference_logits(float_model(tiny), rows).log_softmax(-1)
    found = reference_logits(changed, rows).log_softmax(-1)
    kl = (expected.exp() * (expected - found)).sum(-1).mean().item()
    row = next(r for r in losses if (r.layer, r.role, r.option) == (layer, place, option))
    assert row.kl == pytest.approx(kl, rel=1e-2)


def test_fewer_bits_lose_more(losses: list[Loss]) -> None:
    by_weight: dict[tuple[int, Role], dict[str, float]] = {}
    for row in losses:
        by_weight.setdefault((row.layer, row.role), {})[row.option] = row.kl
    for options in by_weight.values():
        assert options["8 bits"] < 0.2 * options["4 bits, groups of 32"]


def test_budget_takes_what_it_may_and_no_more(tiny: Checkpoint, losses: list[Loss]) -> None:
    onnx, sizes = find_backend("onnx"), []
    for budget in (755_000, 775_000, 800_000):
        recipe = budget_recipe(tiny, INT4, losses, budget)
        assert parse_recipe(recipe.as_json()) == recipe
        sizes.append(weights_bytes(tiny.config, recipe, onnx))
        assert 0.98 * budget < sizes[-1] <= budget
    with pytest.raises(BudgetError, match="at least"):
        budget_recipe(tiny, INT4, losses, 700_000)


def test_budget_loses_no_more_than_a_fixed_recipe(tiny: Checkpoint, losses: list[Loss]) -> None:
    """By the losses it was given: those of int4's own choice add up to as much, or more."""

    def total(recipe: Recipe) -> float:
        picked = 0.0
        for row in losses:
            precision = recipe.weights.get(f"{row.layer}.{row.role}") or recipe.weights.get(
                str(row.role), recipe.weights.get("projections")
            )
            if PRECISION_OPTIONS[row.option] == precision:
                picked += row.kl
        assert picked > 0
        return picked

    fixed = replace(
        INT4,
        weights={
            "projections": PRECISION_OPTIONS["4 bits, groups of 32"],
            "tables": INT4.weights["tables"],
            "key": PRECISION_OPTIONS["8 bits"],
        },
    )
    size = weights_bytes(tiny.config, fixed, find_backend("onnx"))
    assert total(budget_recipe(tiny, fixed, losses, size)) <= total(fixed)


def test_answer_about_global_layers() -> None:
    def row(layer: int, kind: LayerKind, kl: float) -> Loss:
        return Loss(
            layer=layer,
            kind=kind,
            role=Role.KEY,
            option="4 bits, groups of 64",
            size_bytes=1,
            kl=kl,
        )

    window, whole = LayerKind.WINDOW, LayerKind.GLOBAL
    rows = [row(2, window, 1.0), row(3, whole, 3.0), row(4, window, 2.0)]
    assert global_to_window(rows) == pytest.approx(2.0)
    assert global_to_window(rows[:1]) is None  # one layer, or none that has a window


def test_heat_map_is_a_picture(losses: list[Loss], tmp_path: Path) -> None:
    draw_heatmap(losses, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_sizes_are_read_as_people_write_them() -> None:
    assert [parse_size(text) for text in ("2.0GB", "5.8 MB", "12B")] == [2 * 10**9, 5_800_000, 12]
    with pytest.raises(OptionError, match="expected for example"):
        parse_size("much")
    with pytest.raises(OptionError, match="'2' has no unit; expected for example 2GB or 2MB"):
        parse_size("2")
