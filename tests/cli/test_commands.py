"""Every command on real bundles: what it prints, and with which exit code."""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.conftest import Command
from tests.conftest import NANO
from tinyaya.export.backends import BACKENDS
from tinyaya.export.pipeline import ExportedBundle
from tinyaya.export.proof.parity import Parity

PROMPT = "All human beings are born free"


@pytest.mark.parametrize("backend", BACKENDS)
def test_run_prints_the_keys_that_scripts_rely_on(
    command: Command, bundles: Mapping[str, Path], backend: str
) -> None:
    arguments = ("run", bundles[backend], "--prompt", PROMPT, "--max-tokens", 12, "--json")
    result = command(*arguments, "--temperature", 0)
    assert result.code == 0
    assert set(result.json) == {
        "prompt_ids",
        "token_ids",
        "text",
        "stop_reason",
        "prefill_ms",
        "decode_tokens_per_s",
        "complete",
    }
    assert result.json["prompt_ids"][0] == 2
    assert len(result.json["token_ids"]) == 12
    again = command(*arguments, "--temperature", 0)
    assert again.json["token_ids"] == result.json["token_ids"]


def test_run_streams_the_text_that_json_holds(
    command: Command, bundles: Mapping[str, Path]
) -> None:
    arguments = ("run", bundles["onnx"], "--prompt", PROMPT, "--max-tokens", 12, "--seed", 7)
    assert command(*arguments).out == command(*arguments, "--json").json["text"] + "\n"


def test_run_chat_has_one_bos(command: Command, bundles: Mapping[str, Path]) -> None:
    result = command(
        "run", bundles["onnx"], "--prompt", "Hi", "--chat", "--max-tokens", 2, "--json"
    )
    assert result.json["prompt_ids"].count(2) == 1
    assert len(result.json["prompt_ids"]) > 20


def test_seeds_differ_and_repeat(command: Command, bundles: Mapping[str, Path]) -> None:
    def text(seed: int) -> str:
        options = ("--temperature", 1.5, "--top-k", 0, "--max-tokens", 16, "--seed", seed, "--json")
        return command("run", bundles["onnx"], "--prompt", PROMPT, *options).json["text"]

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


def test_inspect_shows_recipe_and_quality(command: Command, bundles: Mapping[str, Path]) -> None:
    result = command("inspect", bundles["onnx"])
    assert result.code == 0
    assert "int4" in result.out and "KL to fp32" in result.out
    assert command("inspect", bundles["onnx"], "--json").json["engine"] == "onnx"


CALIBRATED = {"KL to fp32 is the export's", "KL to fp32 after 400 tokens"}
ROUNDED = {"program equals quantized model", "the same after 400 tokens"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("recipe", "expected"), [("int4", CALIBRATED), ("int8", ROUNDED)])
def test_verify_against_the_checkpoint(
    command: Command, exported: Mapping[str, list], backend: str, recipe: str, expected: set[str]
) -> None:
    options = ("--against", NANO, "--tokens", 400)  # past three windows
    folder = next(b.path for b in exported[recipe] if b.backend == backend)
    result = command("verify", folder, *options, "--json")
    assert result.code == 0
    assert result.json["ok"] is True
    names = {check["name"] for check in result.json["checks"]}
    assert {"files", "golden token ids", "program repeats its probe"} < names
    assert "preamble is as if it were fed" in names
    assert expected < names
    assert all({"name", "ok", "figure"} == set(check) for check in result.json["checks"])


def test_verify_fails_when_a_calibrated_program_loses_more(
    command: Command, bundles: Mapping[str, Path], tmp_path: Path
) -> None:
    """The export found less: as if weights had come to harm since."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundles["onnx"], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["parity"]["kl_to_fp32"] /= 8
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = command("verify", folder, "--against", NANO, "--tokens", 400, "--json")
    assert result.code == 1
    failed = {check["name"] for check in result.json["checks"] if not check["ok"]}
    assert failed == CALIBRATED


def test_verify_fails_when_the_program_says_something_else(
    command: Command, exported: Mapping[str, list], tmp_path: Path
) -> None:
    """An unquantized program in the place of the int8 one, with the right hashes."""
    folder = tmp_path / "bundle"
    right, other = (
        next(b.path for b in exported[recipe] if b.backend == "onnx") for recipe in ("int8", "fp32")
    )
    shutil.copytree(right, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("model.onnx", "model.onnx.data"):
        data = (other / name).read_bytes()
        (folder / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        manifest["files"][name] = {"bytes": len(data), "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = command("verify", folder, "--json")
    assert result.code == 1
    failed = {check["name"] for check in result.json["checks"] if not check["ok"]}
    assert failed == {"program repeats its probe"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_plan_is_near_what_export_writes(
    command: Command, bundles: Mapping[str, Path], backend: str
) -> None:
    result = command("plan", NANO, "--backend", backend, "--chunk", 64, "--json")
    assert set(result.json) == {
        "bundle_bytes",
        "weights_bytes",
        "kv_cache_bytes",
        "device_peak_bytes",
        "export_peak_bytes",
        "export_disk_bytes",
        "quantize_peak_bytes",
        "lower_peak_bytes",
        "verify_peak_bytes",
        "calibrate_peak_bytes",
        "verdict",
    }
    verdict = result.json["verdict"]
    assert verdict["fits"] and 1 < verdict["seconds"] < 600
    assert verdict["memory_bytes"] == result.json["export_peak_bytes"]
    written = sum(path.stat().st_size for path in bundles[backend].iterdir())
    assert result.json["bundle_bytes"] == pytest.approx(written, rel=0.1)
    program = {"onnx": "model.onnx.data", "executorch": "model.pte"}[backend]
    size = (bundles[backend] / program).stat().st_size
    assert result.json["weights_bytes"] == pytest.approx(size, rel=0.1)
    assert result.json["kv_cache_bytes"] == 2 * 2 * 32 * (6 * 191 + 2 * 1024)


def test_export_writes_a_bundle_that_runs(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    result = command("export", NANO, "--out", out, "--recipe", "int8", "--context", 256, "--json")
    assert result.code == 0
    assert result.json[0]["parity"]["kl_to_quantized"] < 1e-6
    assert command("run", out, "--prompt", PROMPT, "--max-tokens", 3).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("kl", "words"),
    [(0.001, "as good as"), (0.05, "close to"), (0.1, "weaker than"), (1.0, "far from")],
)
def test_export_ends_with_words_and_the_next_step(
    command: Command,
    bundles: Mapping[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    kl: float,
    words: str,
) -> None:
    parity = Parity(
        positions=3,
        past_window=True,
        kl_to_quantized=0.0,
        kl_of_recipe=kl,
        kl_to_fp32=kl,
        top1_agreement=0.9,
    )
    made = [
        ExportedBundle(backend=name, path=path, parity=parity, model=None)  # type: ignore[arg-type]
        for name, path in bundles.items()
    ]
    monkeypatch.setattr("tinyaya.export.pipeline.export_bundle", lambda *arguments: made)
    said = command("export", NANO, "--out", "aya", "--backend", "both").out.splitlines()
    for line, bundle in zip(said[:2], made, strict=True):
        assert line.startswith(f"{bundle.path}: {bundle.backend}, int4, ")
        assert line.endswith(
            f"verified: {words} the original (KL to fp32 {kl:.2e}, 90% same top-1)"
        )
    assert said[2].startswith("done in 0:00:0") and said[3:] == ["  tinyaya-export chat aya"]


@pytest.mark.parametrize("value", ["@text", "none"])
def test_a_preamble_of_ones_own_or_none(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text, out = "Haki za binadamu. Swali: ", tmp_path / "bundle"
    Path("text").write_text(text, encoding="utf-8")
    options = ("--chunk", 16, "--recipe", "fp32", "--no-verify", "--preamble", value)
    assert command("export", NANO, "--out", out, *options).code == 0
    ids = command("inspect", out, "--json").json.get("preamble", {"ids": []})["ids"]
    assert (len(ids) >= 5) == (value != "none") == (out / "preamble.npy").exists()
    assert (f"{len(ids)} tokens" if ids else "none") in command("inspect", out).out
    given = text if ids else "none"
    planned = [command("plan", NANO, "--preamble", p, "--json").json for p in (given, "none")]
    grown = planned[0]["bundle_bytes"] - planned[1]["bundle_bytes"]
    assert grown == len(ids) * 8 * 2 * 2 * 32


def test_every_help_has_an_example(command: Command) -> None:
    for name in ("export", "run", "inspect", "verify", "plan", "demo"):
        assert "Example: tinyaya-export" in command(name, "--help").out


def test_a_folder_of_bundles_stands_for_the_one_that_is_fastest_here(
    command: Command, bundles: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "aya"
    folder.mkdir()
    (folder / "first").symlink_to(bundles["onnx"])
    alone = command("inspect", folder, "--json")
    assert alone.json["engine"] == "onnx" and alone.err == ""
    (folder / "second").symlink_to(bundles["executorch"])
    monkeypatch.setitem(sys.modules, "tinyaya_native", None)
    said = command("inspect", folder, "--json")
    assert said.json["engine"] == "onnx"
    assert f"{folder} holds first, second; {folder}/first is taken" in said.err
    monkeypatch.setitem(sys.modules, "tinyaya_native", ModuleType("tinyaya_native"))
    sys.modules["tinyaya_native"].__spec__ = ModuleSpec("tinyaya_native", None)
    assert command("inspect", folder, "--json").json["engine"] == "executorch"
    (folder / "third").symlink_to(bundles["executorch"])
    refused = command("run", folder, "--prompt", "Habari")
    assert refused.code == 2
    assert "holds the bundles first, second, third; name one, such as" in refused.err
