"""`export` and `plan` for some languages."""

import json
import shutil
from dataclasses import asdict
from math import prod
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.conftest import NANO
from tinyaya.export.quality.loss import Loss
from tinyaya.export.quality.sensitivity import options_for
from tinyaya.export.source.checkpoint import open_checkpoint
from tinyaya.quantize.roles import PROJECTIONS, LayerKind, place_of


def planned_bytes(plan: dict) -> dict:
    """Without what depends on the machine's state."""
    return {name: value for name, value in plan.items() if name != "verdict"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--languages", "Swahilli"), ("'Swahilli'", "nearest: Swahili (sw)")),
        (("--languages", ","), ("no language is named",)),
        (("--keep", "tight"), ("--languages",)),
        (("--texts", "."), ("--languages",)),
        (("--languages", "sw", "--keep", "loose"), ("'loose'", "safe, tight, all")),
        (("--languages", "sw", "--keep", "tight", "--texts", "/proc"), ("<language>.txt",)),
    ],
)
@pytest.mark.parametrize("name", ["export", "plan"])
def test_wrong_options_are_refused(
    command: Command, tmp_path: Path, name: str, options: tuple, words: tuple
) -> None:
    out = ("--out", tmp_path / "out") if name == "export" else ()
    result = command(name, NANO, *out, *options)
    lines = [line for line in result.err.splitlines() if not line.startswith("note: ")]
    assert (result.code, result.out, len(lines)) == (2, "", 1)
    assert all(word in lines[0] for word in words), lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_language_without_texts(command: Command, tmp_path: Path) -> None:
    result = command("plan", NANO, "--languages", "pcm", "--keep", "tight")
    assert result.code == 2 and "add --texts DIR with pcm.txt" in result.err
    (tmp_path / "pcm.txt").write_text("How you dey? I dey kampe.\nNa so.\n" * 9, encoding="utf-8")
    texts = ("--keep", "tight", "--texts", tmp_path)
    assert command("plan", NANO, "--languages", "Nigerian Pidgin", *texts).code == 0


def test_a_tokenizer_of_another_kind(command: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(NANO, tmp_path / "nano")
    path = folder / "tokenizer.json"
    definition = json.loads(path.read_text(encoding="utf-8"))
    definition["pre_tokenizer"] = {"type": "Metaspace", "replacement": "_"}
    path.write_text(json.dumps(definition), encoding="utf-8")
    result = command("plan", folder, "--languages", "sw")
    assert result.code == 2 and "pre_tokenizer is 'Metaspace'; supported: Split" in result.err


def test_a_trimmed_bundle_is_planned_smaller(command: Command) -> None:
    sizes = [
        command("plan", NANO, *options, "--json").json["bundle_bytes"]
        for options in ((), ("--languages", "sw,en"), ("--languages", "hi", "--keep", "tight"))
    ]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[0] - sizes[1] > 1_000_000


def test_a_trimmed_bundle_says_so(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--languages", "Kiswahili,en", "--recipe", "int8", "--no-verify")
    result = command("export", NANO, "--out", out, *options)
    assert result.code == 0
    assert "note: " in result.err and "for sw, en take tiny-aya-earth" in result.err
    assert "of 10,240 rows for sw, en (safe)" in " ".join(command("inspect", out).out.split())
    text = command("run", out, "--prompt", "日本語 na Kiswahili", "--max-tokens", 4, "--json")
    assert text.code == 0 and len(text.json["token_ids"]) == 4
    assert command("verify", out, "--json").json["ok"] is True


def test_the_right_variant_gets_no_note(command: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(NANO, tmp_path / "tiny-aya-earth")
    assert "note: " not in command("plan", folder, "--languages", "sw,en").err
    assert "is tiny-aya-earth; for hi take" in command("plan", folder, "--languages", "hi").err


def test_all_languages_keep_the_vocabulary(command: Command) -> None:
    from tests.conftest import UDHR

    codes = ",".join(path.stem for path in UDHR.glob("*.txt"))
    result = command("plan", NANO, "--languages", codes, "--json")
    assert planned_bytes(result.json) == planned_bytes(command("plan", NANO, "--json").json)
    assert "need all of the vocabulary" in result.err


def test_a_budget_counts_the_rows_that_are_left(command: Command, tmp_path: Path) -> None:
    """The same size leaves more bits to the layers where the table has lost rows."""
    checkpoint = open_checkpoint(NANO)
    losses = [
        asdict(
            Loss(
                layer=place.layer or 0,
                kind=place.kind or LayerKind.WINDOW,
                role=place.role,
                option=option,
                size_bytes=prod(shape) * precision.bits // 8 + prod(shape) // 16,
                kl=2.0**-precision.bits / (precision.group_size or 1024),
            )
        )
        for name, shape in checkpoint.shapes.items()
        if (place := place_of(name, checkpoint.kinds)).role in PROJECTIONS
        for option, precision in options_for(shape[1]).items()
    ]
    path = tmp_path / "losses.json"
    path.write_text(json.dumps({"losses": losses}), encoding="utf-8")
    budget = ("--budget", "6.2MB", "--losses", path, "--no-verify", "--no-calibrate")
    bits = {}
    for name, languages in (("whole", ()), ("own", ("--languages", "hi"))):
        out = tmp_path / name
        assert command("export", NANO, "--out", out, *budget, *languages).code == 0
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["files"]["model.onnx.data"]["bytes"] < 6_400_000
        bits[name] = sum(row["bits"] for row in manifest["recipe"]["weights"].values())
    assert bits["own"] > bits["whole"]
