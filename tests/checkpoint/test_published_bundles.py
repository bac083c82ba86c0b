"""Whole exports of folders as people have them, on both backends."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.published_folder import FORMS, MODELS, write_form
from tests.random_checkpoint import CONFIG, random_checkpoint
from tests.store import NANO
from tinyaya.export.backends import BACKENDS
from tinyaya.export.options import ExportOptions
from tinyaya.export.pipeline import export_bundle
from tinyaya.runtime import open_bundle

TEXT = "Habari za asubuhi? 1234 för"
# What other models have otherwise, beside the manifest. Scales of caches come from golden ids.
NO_TEMPLATE = {"chat_template.jinja", "tokenizer_config.json"}
PROGRAMS = {"onnx": "model.onnx", "executorch": "model.pte"}
DIFFERENT = {
    "Command R's tokenizer": {"tokenizer.json", "golden_tokens.json", "probe.json"},
    "base": NO_TEMPLATE,
    "base-32K": NO_TEMPLATE,
    "thinker": set[str](),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One global layer; rows of the table that no token has, as Tiny Aya's has them."""
    folder = tmp_path_factory.mktemp("plain")
    written = json.loads((NANO / "config.json").read_text())
    sizes = {key: CONFIG[key] for key in written.keys() & CONFIG.keys()}
    config = written | sizes | {"num_hidden_layers": 1, "layer_types": ["full_attention"]}
    config |= {"head_dim": 16, "rope_parameters": written["rope_parameters"]}
    random_checkpoint(folder, config)
    return folder


def exported(folder: Path, target: Path, backend: str) -> Path:
    options = ExportOptions(
        backend=backend, recipe="int4", context=128, chunk=16, calibrate=False, preamble=""
    )
    return export_bundle(folder, target, options)[0].path


@pytest.fixture(scope="module")
def expected(
    plain: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Mapping[str, bytes]]:
    """Backend -> the files of the plain folder's bundle."""
    target = tmp_path_factory.mktemp("expected")
    return {name: contents(exported(plain, target / name, name)) for name in BACKENDS}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bundle(
    form: str,
    backend: str,
    plain: Path,
    expected: Mapping[str, Mapping[str, bytes]],
    tmp_path: Path,
) -> None:
    folder = write_form(plain, tmp_path / "form", form, linked=form == "transformers 5")
    found = contents(exported(folder, tmp_path / "out", backend))
    assert found.keys() == expected[backend].keys()
    assert [name for name, raw in found.items() if raw != expected[backend][name]] == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", MODELS)
def test_other_models_differ_where_they_should(
    model: str,
    backend: str,
    plain: Path,
    expected: Mapping[str, Mapping[str, bytes]],
    tmp_path: Path,
) -> None:
    """What ends texts with EOS is not shipped: a prompt would end there."""
    folder = write_form(plain, tmp_path / "form", model)
    out = exported(folder, tmp_path / "out", backend)
    found = contents(out)
    names = found.keys() | expected[backend].keys()
    different = {name for name in names if found.get(name) != expected[backend].get(name)}
    own_ids = {PROGRAMS[backend]} if "golden_tokens.json" in different else set()
    assert different - {"manifest.json"} == DIFFERENT[model] | own_ids
    bundle = open_bundle(out)
    ids = bundle.tokenizer.encode(TEXT)
    client = PreTrainedTokenizerFast.from_pretrained(out)
    truth = PreTrainedTokenizerFast.from_pretrained(folder)
    assert ids == client.encode(TEXT) == [2, *truth.encode(TEXT, add_special_tokens=False)]
    assert (truth.encode(TEXT)[-1] == 3) == (model in ("base-32K", "thinker"))
    assert bundle.session().prefill(ids).shape == (CONFIG["vocab_size"],)
