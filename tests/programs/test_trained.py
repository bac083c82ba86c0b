"""L3 and L4 on the trained model: real text, all languages, all recipes, and the stock clients."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch

from tests.conftest import EXPORTED, NANO, UDHR, Exported
from tinyaya.export.backends import BACKENDS, find_backend
from tinyaya.export.bundle.tokenizer_proof import golden_tokens
from tinyaya.export.calibration.quantized_model import build_quantized
from tinyaya.export.decoder.reference import reference_logits
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.export.options import CalibrationOptions, ExportOptions
from tinyaya.export.proof.parity import MAX_KL_SHARE, float_model, measure, tail_logits
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.export.source.tokenizer import hugging_face_encoder
from tinyaya.quantize.recipe import find_recipe
from tinyaya.runtime import Sampler, Session, generate, open_bundle

TIE = 1e-3
PROMPT = (UDHR / "en.txt").read_text(encoding="utf-8")[:600]
GOLDEN = golden_tokens(hugging_face_encoder(NANO))


def greedy(session: Session, prompt_ids: Sequence[int], count: int) -> list[int]:
    """Likeliest ids, stop ids or not."""
    session.reset()
    logits, tokens = session.prefill(prompt_ids), []
    while len(tokens) < count:
        tokens.append(int(logits.argmax()))
        logits = session.step(tokens[-1])
    return tokens


def assert_same_or_tie(
    tokens: Sequence[int], expected: Sequence[int], logits_NV: torch.Tensor, tie: float
) -> None:
    """The first difference, if any, is between two logits that are closer than `tie`."""
    for index, (found, wanted) in enumerate(zip(tokens, expected, strict=True)):
        if found != wanted:
            assert abs(logits_NV[index, found] - logits_NV[index, wanted]) < tie
            return


@pytest.mark.l3
def test_greedy_text_is_the_same_from_transformers_eager_and_both_programs(
    nano: Checkpoint, exported: Exported
) -> None:
    from transformers import AutoModelForCausalLM

    tokenizer = open_bundle(exported["fp32"][0].path).tokenizer
    prompt_ids = tokenizer.encode(PROMPT)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    expected = model.generate(
        torch.tensor([prompt_ids]),
        max_new_tokens=200,
        min_new_tokens=200,
        do_sample=False,
        temperature=None,
        top_k=None,
        top_p=None,
        eos_token_id=None,
        pad_token_id=0,
    )[0, len(prompt_ids) :].tolist()
    assert len(prompt_ids) + len(expected) > 2 * 128  # past the window
    sequence = torch.tensor([[*prompt_ids, *expected]])
    logits_NV = reference_logits(float_model(nano), sequence)[0, len(prompt_ids) - 1 : -1]
    assert_same_or_tie(logits_NV.argmax(-1).tolist(), expected, logits_NV, TIE)
    for bundle in exported["fp32"]:
        tokens = greedy(open_bundle(bundle.path).session(), prompt_ids, 200)
        assert_same_or_tie(tokens, expected, logits_NV, TIE)


@pytest.mark.l3
@pytest.mark.parametrize("recipe", ["int8", "int4"])
def test_programs_keep_the_recipe_in_all_languages(
    nano: Checkpoint, exported: Exported, calibration: CalibrationOptions, recipe: str
) -> None:
    model = build_quantized(nano, find_recipe(recipe), GOLDEN, calibration)
    sessions = {b.backend: open_bundle(b.path).session() for b in exported[recipe]}
    tokenizer = next(iter(sessions.values())).tokenizer
    figures = {backend: [] for backend in sessions}
    for text in evaluation_texts(None).values():
        ids = tokenizer.encode(text)[:192]
        float_NV = tail_logits(float_model(nano), ids)
        for backend, session in sessions.items():
            quantized_NV = tail_logits(model, ids, find_backend(backend).rounder)
            parity, _ = measure(session, ids, quantized_NV, float_NV)
            assert parity.past_window
            figures[backend].append(parity)
    assert {len(rows) for rows in figures.values()} == {67}
    to_fp32 = []
    for rows in figures.values():
        share = fmean(r.kl_to_quantized for r in rows) / fmean(r.kl_of_recipe for r in rows)
        assert share <= MAX_KL_SHARE
        to_fp32.append(fmean(r.kl_to_fp32 for r in rows))
    assert max(to_fp32) / min(to_fp32) < 1.15


@pytest.mark.l3
@pytest.mark.parametrize("backend", BACKENDS)
def test_reference_of_the_other_engine_is_farther(
    nano: Checkpoint, exported: Exported, calibration: CalibrationOptions, backend: str
) -> None:
    """The eager model rounds activations as this engine does: another rounding fits worse."""
    other = next(name for name in BACKENDS if name != backend)
    path = next(b.path for b in exported["int4"] if b.backend == backend)
    model = build_quantized(nano, find_recipe("int4"), GOLDEN, calibration)
    session = open_bundle(path).session()
    ids = session.tokenizer.encode(PROMPT)
    float_NV = tail_logits(float_model(nano), ids)
    own, foreign = (
        measure(session, ids, tail_logits(model, ids, find_backend(name).rounder), float_NV)[0]
        for name in (backend, other)
    )
    assert own.kl_to_quantized < 0.7 * foreign.kl_to_quantized


def our_greedy(folder: Path, count: int) -> tuple[list[int], list[int], str]:
    """Ids of the prompt, greedy ids, and their text, from our own runtime."""
    bundle = open_bundle(folder)
    prompt_ids = bundle.tokenizer.encode(PROMPT)
    tokens = list(
        generate(bundle.session(), prompt_ids, max_tokens=count, sampler=Sampler(temperature=0.0))
    )
    return prompt_ids, [token.id for token in tokens], "".join(token.text for token in tokens)


@pytest.mark.l4
@pytest.mark.parametrize("recipe", EXPORTED)
def test_onnxruntime_genai_gives_our_tokens(exported: Exported, recipe: str) -> None:
    import onnxruntime_genai

    folder = next(b.path for b in exported[recipe] if b.backend == "onnx")
    prompt_ids, expected, _ = our_greedy(folder, 150)
    model = onnxruntime_genai.Model(str(folder))
    tokenizer = onnxruntime_genai.Tokenizer(model)
    assert [2, *tokenizer.encode(PROMPT)] == prompt_ids
    params = onnxruntime_genai.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=len(prompt_ids) + len(expected))
    generator = onnxruntime_genai.Generator(model, params)
    generator.append_tokens(prompt_ids)
    while not generator.is_done():
        generator.generate_next_token()
    assert generator.get_sequence(0).tolist()[len(prompt_ids) :] == expected
    assert len(prompt_ids) + len(expected) > 2 * 128


@pytest.mark.l4
@pytest.mark.parametrize("recipe", EXPORTED)
def test_executorch_text_runner_gives_our_text(exported: Exported, recipe: str) -> None:
    import executorch.kernels.quantized  # noqa: F401
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401
    from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

    folder = next(b.path for b in exported[recipe] if b.backend == "executorch")
    _, expected_ids, expected = our_greedy(folder, 150)
    runner = TextLLMRunner(str(folder / "model.pte"), str(folder / "tokenizer.json"))
    pieces: list[str] = []
    config = GenerationConfig(
        echo=False, max_new_tokens=len(expected_ids), temperature=0.0, num_bos=1
    )
    runner.generate(PROMPT, config, token_callback=pieces.append)
    assert "".join(pieces) == expected


@pytest.mark.l1
@pytest.mark.thorough
def test_recipe_run_twice_gives_the_same_bytes(nano: Checkpoint, tmp_path: Path) -> None:
    from tinyaya.export.pipeline import export_bundle

    calibration = CalibrationOptions(tokens=2048)  # no folder: both times anew
    options = ExportOptions(recipe="int4", calibration=calibration, verify=False)
    manifests = [
        (export_bundle(NANO, tmp_path / name, options)[0].path / "manifest.json").read_bytes()
        for name in ("first", "second")
    ]
    assert manifests[0] == manifests[1]


def test_unused_rows_do_not_change_kl() -> None:
    from tinyaya.export.proof.kl import kl

    p = np.array([[1.0, 2.0, -np.inf]], np.float32)
    q = np.array([[2.0, 1.0, -np.inf]], np.float32)
    assert kl(p, q) == pytest.approx(kl(p[:, :2], q[:, :2]))
    assert kl(p, p) == 0
