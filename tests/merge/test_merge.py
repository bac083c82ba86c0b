"""Merges are what their definitions say, written here in plain arithmetic."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions as MergekitOptions
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.random_checkpoint import CONFIG, random_checkpoint
from tinyaya.export.errors import MergeError
from tinyaya.export.merge import run
from tinyaya.export.merge.configuration import (
    MergeOptions,
    make_configuration,
    read_configuration,
)
from tinyaya.export.merge.magnitude import kth_largest
from tinyaya.export.merge.run import merge_checkpoints
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint

SHALLOW = CONFIG | {"num_hidden_layers": 2, "sliding_window_pattern": 2}
COHERE = {"model_type": "cohere", "sliding_window": None, "sliding_window_pattern": None}
Tensors = Mapping[str, Tensor]
Merge = Callable[..., Tensors]


def varied(folder: Path, seed: int, **config: Any) -> Checkpoint:
    """The random checkpoint, each value a little moved; seed 0 moves none."""
    folder.mkdir()
    random_checkpoint(folder, SHALLOW | config)
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(folder / "model.safetensors")
    for tensor in tensors.values():
        tensor += 0.1 * (seed > 0) * torch.randn(tensor.shape, generator=generator)
    save_file(tensors, folder / "model.safetensors")
    return open_checkpoint(folder)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    """A base and two that were made of it."""
    folder = tmp_path_factory.mktemp("three")
    return [varied(folder / name, seed) for seed, name in enumerate(("base", "earth", "fire"))]


@pytest.fixture(params=["whole", "rows"])
def merge(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Merge:
    """Merge by options; with whole tensors, and with some rows at a time."""
    if request.param == "rows":
        monkeypatch.setattr(run, "_BLOCK_VALUES", 3000)

    def call(method: str, *sources: object, **options: Any) -> Tensors:
        asked = MergeOptions(method=method, sources=list(map(str, sources)), **options)
        merge_checkpoints(make_configuration(asked), tmp_path / "out")
        return read(open_checkpoint(tmp_path / "out"))

    return call


def read(checkpoint: Checkpoint) -> Tensors:
    return {name: checkpoint.read(name) for name in checkpoint.names}


def assert_all(found: Tensors, expected: Callable[..., Tensor], *sources: Checkpoint) -> None:
    assert list(found) == sources[0].names
    for name in found:
        wanted = expected(*(source.read(name) for source in sources))
        torch.testing.assert_close(found[name], wanted, atol=1e-6, rtol=1e-5)


def test_linear_is_the_weighted_mean(merge: Merge, three: list[Checkpoint]) -> None:
    _, earth, fire = three
    found = merge("linear", f"{earth.folder}:3", f"{fire.folder}")
    assert_all(found, lambda x, y: (3 * x + y) / 4, earth, fire)


def slerp(x: Tensor, y: Tensor, t: float) -> Tensor:
    """On the arc between two tensors, seen as vectors; of near parallel ones on the line."""
    cosine = float((x * y).sum() / x.norm() / y.norm())
    if abs(cosine) > 0.9995:
        return (1 - t) * x + t * y
    angle = torch.acos(torch.tensor(cosine))
    return (torch.sin((1 - t) * angle) * x + torch.sin(t * angle) * y) / torch.sin(angle)


def test_slerp_goes_along_the_arc(merge: Merge, three: list[Checkpoint]) -> None:
    _, earth, fire = three
    found = merge("slerp", f"{earth.folder}:1", f"{fire.folder}:3")
    assert_all(found, lambda x, y: slerp(x, y, 0.75), earth, fire)


def ties(base: Tensor, *others: Tensor, density: float, weights: tuple[float, ...]) -> Tensor:
    """Trim each task vector to its largest values, elect a sign, average those that agree."""
    vectors = []
    for other, weight in zip(others, weights, strict=True):
        vector = other - base
        least = (
            vector.abs().flatten().sort(descending=True).values[int(density * vector.numel()) - 1]
        )
        vectors.append(weight * torch.where(vector.abs() >= least, vector, 0.0))
    stacked = torch.stack(vectors)
    agree = torch.sign(stacked) == torch.where(stacked.sum(0) >= 0, 1.0, -1.0)
    shape = (-1, *[1] * base.ndim)
    share = (agree * torch.tensor(weights).reshape(shape)).sum(0)
    return base + (stacked * agree).sum(0) / torch.where(share == 0, 1.0, share)


@pytest.mark.parametrize("density", [0.3, 1.0])
def test_ties_trims_elects_and_averages(
    merge: Merge, three: list[Checkpoint], density: float
) -> None:
    base, earth, fire = three
    found = merge("ties", f"{earth.folder}:0.5", fire.folder, base=base.folder, density=density)
    assert_all(found, lambda *x: ties(*x, density=density, weights=(0.5, 1.0)), base, earth, fire)


def test_dare_keeps_all_at_density_1(merge: Merge, three: list[Checkpoint]) -> None:
    base, earth, fire = three
    found = merge("dare_linear", f"{earth.folder}:0.5", fire.folder, base=base.folder, density=1.0)
    assert_all(found, lambda b, x, y: b + 0.5 * (x - b) + (y - b), base, earth, fire)


def test_dare_drops_at_random_and_makes_up_for_it(merge: Merge, three: list[Checkpoint]) -> None:
    base, earth, _ = three
    found = merge("dare_ties", earth.folder, base=base.folder, density=0.25)
    name = "model.layers.0.mlp.up_proj.weight"
    difference, whole = found[name] - base.read(name), earth.read(name) - base.read(name)
    kept = difference.abs() > 1e-6
    assert 0.2 < kept.float().mean() < 0.3
    ratio = difference[kept] / whole[kept]
    assert (ratio.median() - 4).abs() < 0.5
    assert (difference.abs().sum() / whole.abs().sum() - 1).abs() < 1e-3


def test_dare_draws_the_same_again(three: list[Checkpoint], tmp_path: Path) -> None:
    options = MergeOptions(
        method="dare_linear", sources=[str(three[1].folder)], base=three[0].folder
    )
    for name in "ab":
        torch.rand(1)
        state = torch.get_rng_state()
        merge_checkpoints(make_configuration(options), tmp_path / name)
        assert torch.equal(torch.get_rng_state(), state)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        """
        merge_method: slerp
        base_model: {base}
        slices:
          - sources:
            - {{model: {base}, layer_range: [0, 2]}}
            - {{model: {fire}, layer_range: [0, 2]}}
        parameters:
          t: [{{filter: attn, value: [0, 0.7]}}, {{filter: mlp, value: [1, 0.2]}}, {{value: 0.4}}]
        """,
        """
        merge_method: task_arithmetic
        base_model: {base}
        models:
          - {{model: {earth}, parameters: {{weight: 0.4}}}}
          - {{model: {fire}, parameters: {{weight: [0.1, 0.8]}}}}
        parameters: {{lambda: 0.7}}
        tokenizer_source: {fire}
        """,
        """
        merge_method: breadcrumbs
        base_model: {base}
        models: [{{model: {earth}, parameters: {{weight: 1, density: 0.6, gamma: 0.1}}}}]
        """,
    ],
    ids=["slerp", "task_arithmetic", "breadcrumbs"],
)
def test_a_configuration_is_merged_as_mergekit_alone_does(
    three: list[Checkpoint], tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {checkpoint.folder.name: checkpoint.folder for checkpoint in three}
    path = tmp_path / "merge.yaml"
    path.write_text(text.format(**named))
    raw = {**yaml.safe_load(path.read_text()), "tokenizer_source": None}
    for folder in named.values():  # mergekit's own command asks for it
        config = json.loads((folder / "config.json").read_text())
        config["architectures"] = ["Cohere2ForCausalLM"]
        (folder / "config.json").write_text(json.dumps(config))
    options = MergekitOptions(quiet=True, copy_tokenizer=False, write_model_card=False)
    run_merge(MergeConfiguration.model_validate(raw), str(tmp_path / "theirs"), options)
    expected = load_file(tmp_path / "theirs" / "model.safetensors")
    monkeypatch.setattr(run, "_BLOCK_VALUES", 10_000)
    found = read(merge_checkpoints(read_configuration(path), tmp_path / "out"))
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-5)
    assert (tmp_path / "out" / "mergekit_config.yml").read_text() == path.read_text()


@pytest.mark.parametrize(
    "config",
    [
        {"tie_word_embeddings": False},
        COHERE | {"use_qk_norm": False},
        COHERE | {"use_qk_norm": True},
    ],
    ids=["untied", "cohere", "head norms"],
)
def test_other_architectures(tmp_path: Path, config: dict[str, Any]) -> None:
    made = [varied(tmp_path / name, seed, **config) for seed, name in enumerate("ab")]
    options = MergeOptions(method="linear", sources=[str(one.folder) for one in made])
    found = read(merge_checkpoints(make_configuration(options), tmp_path / "out"))
    assert_all(found, lambda x, y: (x + y) / 2, *made)


def test_the_first_ones_files_are_kept(three: list[Checkpoint], tmp_path: Path) -> None:
    first = shutil.copytree(three[1].folder, tmp_path / "first")
    (first / "chat_template.jinja").write_text("{{ messages[0].content }}")
    options = MergeOptions(method="linear", sources=[str(first), str(three[2].folder)])
    merge_checkpoints(make_configuration(options), tmp_path / "out")
    for path in first.iterdir():
        if path.name != "model.safetensors":
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_the_type_of_values(three: list[Checkpoint], tmp_path: Path) -> None:
    path, (_, earth, fire) = tmp_path / "merge.yaml", three
    config = {"merge_method": "linear", "dtype": "bfloat16", "models": [
        {"model": str(one.folder), "parameters": {"weight": 1}} for one in (earth, fire)
    ]}  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    found = merge_checkpoints(read_configuration(path), tmp_path / "out")
    assert {tensor.kind for tensor in found.tensors.values()} == {"BF16"}
    for name in found.names:  # rounded once, at the end
        mean = (earth.read(name) + fire.read(name)) / 2
        assert torch.equal(found.read(name), mean.bfloat16().float())


def test_the_k_th_largest() -> None:
    values = torch.randn(5000).abs()
    values[:900] = values[0]
    values[900:1000] = 0.0
    wanted = values.sort(descending=True).values
    for k in (1, 2, 700, 2500, 4899, 4900, 4901, 5000):
        assert kth_largest(lambda: values.split(777), k) == wanted[k - 1]


def test_values_that_are_not_finite(three: list[Checkpoint], tmp_path: Path) -> None:
    sources = [f"{three[1].folder}:3e38", f"{three[2].folder}:3e38"]
    with pytest.raises(MergeError, match="not finite"):
        merge_checkpoints(
            make_configuration(MergeOptions(method="linear", sources=sources)), tmp_path / "out"
        )
    assert list(tmp_path.iterdir()) == []
