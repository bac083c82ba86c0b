"""Figures by language: exact for float32, equal to transformers' own where they overlap."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Cohere2ForCausalLM

from tests.conftest import NANO, UDHR, Exported
from tinyaya.export.quality.beside import changes, read_languages
from tinyaya.export.quality.evaluate import EvaluateOptions, evaluate_bundle
from tinyaya.export.quality.figures import Quality, judge, language_figures
from tinyaya.export.quality.page import Point, read_points, render_page
from tinyaya.export.quality.recall import facts
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Silent

CODES = ("sw", "hi", "en")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for code in CODES:
        text = (UDHR / f"{code}.txt").read_text(encoding="utf-8")
        (folder / f"{code}.txt").write_text(text[-3000:], encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def judged(exported: Exported, texts: Path) -> dict[tuple[str, str], Quality]:
    options = EvaluateOptions(texts=texts, tokens=160, sentences=1)
    return {
        (recipe, bundle.backend): evaluate_bundle(bundle.path, NANO, options, Silent())
        for recipe in ("fp32", "int4")
        for bundle in exported[recipe]
    }


@pytest.mark.parametrize("backend", ["onnx", "executorch"])
def test_float32_loses_nothing(judged: dict[tuple[str, str], Quality], backend: str) -> None:
    quality = judged["fp32", backend]
    assert quality.mean_kl < 1e-6
    assert quality.top1_agreement > 0.995
    for row in quality.languages.values():
        assert row.tokens == 160
        assert row.nats_per_token == pytest.approx(row.reference_nats_per_token, abs=1e-4)
        assert row.collapse_rate == 0


@pytest.mark.parametrize("backend", ["onnx", "executorch"])
def test_int4_loses_something(judged: dict[tuple[str, str], Quality], backend: str) -> None:
    quality = judged["int4", backend]
    assert 1e-4 < quality.mean_kl < quality.p99_kl < 0.5
    assert 0.8 < quality.top1_agreement < 1
    assert 1 <= quality.worst_to_median < 3


def test_surprise_is_what_transformers_computes(
    judged: dict[tuple[str, str], Quality], nano: Checkpoint, texts: Path
) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(NANO / "tokenizer.json"))
    model = Cohere2ForCausalLM.from_pretrained(NANO, dtype=torch.float32).eval()
    for code in CODES:
        text = (texts / f"{code}.txt").read_text(encoding="utf-8")
        whole = tokenizer.encode(text, add_special_tokens=False).ids
        ids = torch.tensor([[nano.tokenizer.bos, *whole][:161]])
        with torch.no_grad():
            nats = model(input_ids=ids, labels=ids).loss.item()
        row = judged["fp32", "onnx"].languages[code]
        assert row.reference_nats_per_token == pytest.approx(nats, abs=2e-4)
        expected = nats * len(whole) / len(text.encode())
        assert row.nats_per_byte == pytest.approx(expected, rel=1e-3)


def test_json_has_the_names_that_others_read(judged: dict[tuple[str, str], Quality]) -> None:
    report = judged["int4", "onnx"].as_json()
    assert {"mean_kl", "recall_past_window", "languages", "regions", "resources"} <= report.keys()
    names = {
        "mean_kl",
        "p99_kl",
        "top1_agreement",
        "nats_per_token",
        "nats_per_byte",
        "collapse_rate",
    }
    assert all(names <= row.keys() for row in report["languages"].values())
    assert report["regions"].keys() == {"Africa", "Europe", "South Asia"}
    assert report["regions"]["Africa"]["mean_kl"] == report["languages"]["sw"]["mean_kl"]


def test_means_count_languages_alike(judged: dict[tuple[str, str], Quality]) -> None:
    quality = judged["int4", "onnx"]
    kls = [row.mean_kl for row in quality.languages.values()]
    assert quality.mean_kl == pytest.approx(sum(kls) / 3)
    assert quality.languages[quality.worst].mean_kl == max(kls)
    assert quality.short()["languages"] == 3


def test_figures_of_known_distributions() -> None:
    reference = np.log(np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], np.float32))
    program = np.log(np.array([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]], np.float32))
    row = language_figures(judge(reference, program, [0, 2]), 4.0, None)
    assert row.mean_kl == pytest.approx(0.25 * np.log(2) / 2, rel=1e-5)
    assert row.top1_agreement == 0.5
    assert row.nats_per_token == pytest.approx(np.log(4), rel=1e-5)
    assert row.nats_per_byte == pytest.approx(np.log(4) / 4, rel=1e-5)
    assert row.reference_nats_per_token == pytest.approx((np.log(2) + np.log(4)) / 2, rel=1e-5)


def test_page_stands_alone(judged: dict[tuple[str, str], Quality]) -> None:
    points = [Point(name="Q4_0", weights_bytes=5_560_000, mean_kl=0.004, ours=False)]
    page = render_page("a <bundle>", judged["int4", "onnx"], points)
    assert page.count("<svg") == 2 and "a &lt;bundle&gt;" in page and "Swahili" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    assert "<script" not in page and "<link" not in page


def test_points_are_read_as_the_benchmark_writes_them(tmp_path: Path) -> None:
    point = Point(name="int4", weights_bytes=6_000_000, mean_kl=3e-3, ours=True)
    path = tmp_path / "quality.json"
    path.write_text(json.dumps({"rows": [], "points": [asdict(point)]}))
    assert read_points(path) == [point]
    path.write_text("[]")
    with pytest.raises(OptionError, match="cannot read points"):
        read_points(path)


def test_facts_are_older_than_the_window() -> None:
    found = facts(lambda text: [ord(char) for char in text], 2, list(range(500, 900)), 144)
    assert len(found) == 40
    for fact in found:
        told = "".join(map(chr, fact.prompt[1 : fact.prompt.index(10, 2)]))
        assert "".join(map(chr, fact.answer)).strip() in told
        assert fact.prompt[0] == 2 and len(fact.prompt) > 144


def test_wrong_options_and_another_model(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected at least 2"):
        EvaluateOptions(tokens=1)
    with pytest.raises(OptionError, match=r"no <language>\.txt"):
        options = EvaluateOptions(texts=tmp_path)
        evaluate_bundle(exported["fp32"][0].path, NANO, options, Silent())


def test_quality_is_plain_data(judged: dict[tuple[str, str], Quality]) -> None:
    assert asdict(judged["int4", "onnx"])["languages"].keys() == set(CODES)


def test_changes_are_of_what_a_bundle_was_calibrated_for(
    judged: dict[tuple[str, str], Quality],
    exported: Exported,
    tmp_path: Path,
) -> None:
    quality, path = judged["int4", "onnx"], tmp_path / "before.json"
    before = {code: {"mean_kl": 2 * row.mean_kl} for code, row in quality.languages.items()}
    path.write_text(json.dumps({"languages": {**before, "de": {"mean_kl": 1.0}}}))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    manifest = json.loads((exported["int4"][0].path / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "calibrated_for": ["sw"]}))
    found = changes(quality, read_languages(path), bundle)
    assert (found["chosen"]["languages"], found["others"]["languages"]) == (1, 2)
    assert found["chosen"]["now"] == quality.languages["sw"].mean_kl
    assert found["others"]["before"] == pytest.approx(2 * found["others"]["now"])
    path.write_text("[1]")
    with pytest.raises(OptionError, match="expected what `evaluate --json` prints"):
        read_languages(path)
