"""Trimmed bundles on both engines: kept tokens' logits to the bit, and the stock clients' text."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import NANO
from tinyaya.export.backends import BACKENDS
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.export.options import CalibrationOptions, ExportOptions, VocabularyOptions
from tinyaya.export.pipeline import export_bundle
from tinyaya.export.proof.verify import verify_bundle
from tinyaya.runtime import Bundle, open_bundle

LANGUAGES = ("hi",)  # 1,513 tokens: an odd number, which kernels sum in another order
PROMPT = "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है। " * 8
CODE = "for (int i = 0; i < 10; i++) { x[i] = i * 2; }\n" * 6
RECIPES = ("int4",)
LAYERS = (2, 3)
Folders = Mapping[tuple[str, str, str], Path]
Trimmed = Mapping[tuple[str, str], Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of nano, a window's and a global one, with the whole vocabulary."""
    folder = tmp_path_factory.mktemp("half")
    for path in NANO.glob("*.json"):
        shutil.copy(path, folder)
    config = json.loads((NANO / "config.json").read_text())
    config |= {"num_hidden_layers": 2, "layer_types": [config["layer_types"][i] for i in LAYERS]}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(NANO / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if ".layers." not in name}
    for new, old in enumerate(LAYERS):
        prefix = f"model.layers.{old}."
        own = {name for name in tensors if name.startswith(prefix)}
        kept |= {f"model.layers.{new}.{name[len(prefix) :]}": tensors[name] for name in own}
    save_file(kept, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folders(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Recipe, `keep` and engine -> that for Hindi, with all its words and with its own alone."""
    folder, work = (tmp_path_factory.mktemp(name) for name in ("trimmed", "work"))
    calibration = CalibrationOptions(tokens=2048, work=work)  # one for both, to prove it is
    found = {}
    for recipe in RECIPES:
        for keep in ("all", "safe"):
            options = ExportOptions(
                backend="both",
                recipe=recipe,
                chunk=64,
                vocabulary=VocabularyOptions(languages=LANGUAGES, keep=keep),
                calibration=calibration,
            )
            for bundle in export_bundle(source, folder / recipe / keep, options):
                found[recipe, keep, bundle.backend] = bundle.path
    return found


@pytest.fixture(scope="module")
def trimmed(folders: Folders) -> Trimmed:
    """Recipe and engine -> the bundle without other languages' words."""
    return {
        (recipe, name): path for (recipe, keep, name), path in folders.items() if keep == "safe"
    }


def kept_of(bundle: Bundle) -> list[int]:
    vocabulary = bundle.manifest.vocabulary
    assert vocabulary
    return [id_ for low, high in vocabulary["kept"] for id_ in range(low, high)]


@pytest.mark.l3
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_logits_of_kept_tokens_are_the_whole_bundles_to_the_bit(
    folders: Folders, recipe: str, backend: str
) -> None:
    whole, own = (open_bundle(folders[recipe, keep, backend]) for keep in ("all", "safe"))
    kept = kept_of(own)
    new = {old: row for row, old in enumerate(kept)}
    sessions = whole.session(), own.session()
    for code in LANGUAGES:
        text = evaluation_texts(None)[code]
        before, after = (b.tokenizer.encode(text)[:300] for b in (whole, own))
        assert after == [new[id_] for id_ in before]
        steps = []
        for session, ids in zip(sessions, (before, after), strict=True):
            session.reset()
            rows = [session.prefill(ids[:200]).copy()]  # chunks, and past the window
            rows += [session.step(id_).copy() for id_ in ids[200:]]
            steps.append(np.stack(rows))
        np.testing.assert_array_equal(steps[1][:, : len(kept)], steps[0][:, kept])


@pytest.mark.l4
@pytest.mark.parametrize("recipe", RECIPES)
def test_onnxruntime_genai_runs_it(trimmed: Trimmed, recipe: str) -> None:
    import onnxruntime_genai

    from tests.programs.test_trained import greedy

    folder = trimmed[recipe, "onnx"]
    bundle = open_bundle(folder)
    prompt_ids = bundle.tokenizer.encode(PROMPT)
    expected = greedy(bundle.session(), prompt_ids, 100)
    model = onnxruntime_genai.Model(str(folder))
    assert [2, *onnxruntime_genai.Tokenizer(model).encode(PROMPT)] == prompt_ids
    params = onnxruntime_genai.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=len(prompt_ids) + len(expected))
    generator = onnxruntime_genai.Generator(model, params)
    generator.append_tokens(prompt_ids)
    while not generator.is_done():
        generator.generate_next_token()
    found = generator.get_sequence(0).tolist()[len(prompt_ids) :]
    assert found == expected[: len(found)]
    assert len(found) == 100 or found[-1] in bundle.manifest.tokens.stop
    assert len(prompt_ids) + len(found) > 128


@pytest.mark.l4
@pytest.mark.parametrize("recipe", RECIPES)
def test_executorch_text_runner_runs_it(trimmed: Trimmed, recipe: str) -> None:
    import executorch.kernels.quantized  # noqa: F401
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401
    from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

    from tinyaya.runtime import Sampler, generate

    folder = trimmed[recipe, "executorch"]
    bundle = open_bundle(folder)
    prompt_ids = bundle.tokenizer.encode(CODE)  # its binding cannot pass parts of characters
    sampler = Sampler(temperature=0.0)
    tokens = list(generate(bundle.session(), prompt_ids, max_tokens=100, sampler=sampler))
    runner = TextLLMRunner(str(folder / "model.pte"), str(folder / "tokenizer.json"))
    pieces: list[str] = []
    config = GenerationConfig(echo=False, max_new_tokens=len(tokens), temperature=0.0, num_bos=1)
    runner.generate(CODE, config, token_callback=pieces.append)
    assert "".join(pieces) == "".join(token.text for token in tokens)
    assert len(prompt_ids) + len(tokens) > 128


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_bundle_says_of_it(trimmed: Trimmed, backend: str) -> None:
    folder = trimmed["int4", backend]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    said = manifest["vocabulary"]
    assert said["languages"] == list(LANGUAGES) and said["keep"] == "safe"
    assert said["rows"] == 10240
    kept = kept_of(open_bundle(folder))
    rows = manifest["model"]["vocab_size"]
    assert len(kept) <= rows < 10240 and rows % 64 == 0
    assert manifest["tokens"]["unused"] == [[len(kept), rows]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_smaller_by_the_rows_that_went(folders: Folders, backend: str) -> None:
    def size(folder: Path) -> int:
        names = ("model.onnx.data", "model.pte")
        return sum((folder / name).stat().st_size for name in names if (folder / name).exists())

    whole, own = (folders["int4", keep, backend] for keep in ("all", "safe"))
    rows = open_bundle(own).manifest.model.vocab_size
    # A .pte shares tables from 1 MiB on, so the small one is there twice.
    twice = rows * 256 if backend == "executorch" and rows * 256 < 1 << 20 else 0
    assert size(whole) - size(own) + twice >= 0.95 * (10240 - rows) * 256


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_verifies_against_the_whole_checkpoint(
    trimmed: Trimmed, source: Path, backend: str
) -> None:
    checks = verify_bundle(trimmed["int4", backend], source)
    assert all(check.ok for check in checks), checks
    assert len(checks) > 5


def test_evaluation_says_what_the_trim_costs(trimmed: Trimmed, source: Path) -> None:
    from tinyaya.export.quality.evaluate import EvaluateOptions, evaluate_bundle
    from tinyaya.runtime.progress import Silent

    options = EvaluateOptions(tokens=64, sentences=0)
    quality = evaluate_bundle(trimmed["int4", "onnx"], source, options, Silent())
    assert quality.languages.keys() == set(LANGUAGES)
    assert quality.trim and quality.trim.keys() == set(LANGUAGES)
    for row in quality.trim.values():
        assert row.growth == 0 and row.tokens > 1000
        assert 0.001 < row.dropped_mass < 0.5  # two layers leave much to other languages
    assert quality.as_json()["trim"]["hi"]["growth"] == 0
    assert quality.short()["most_token_growth"] == 0
