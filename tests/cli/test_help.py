"""Help that fits a screen, completion, doctor, and errors in one line."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.main import get_command

from tests.cli.conftest import Command
from tinyaya.export.cli import app as cli
from tinyaya.export.system.doctor import Diagnosis, examine, read_processor

SCREEN_LINES, SCREEN_COLUMNS = 40, 100
COMMANDS = sorted(get_command(cli.app).commands)  # type: ignore[attr-defined]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_with_an_example(
    command: Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(SCREEN_COLUMNS))
    lines = command(name, "--help").out.splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_COLUMNS
    assert any(line.strip().startswith(f"Example: tinyaya-export {name}") for line in lines)


def test_all_commands_are_listed_on_a_screen(command: Command) -> None:
    out = command("--help").out
    assert len(out.splitlines()) <= SCREEN_LINES
    assert all(f"  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    words = {"COMP_WORDS": "tinyaya-export ins", "COMP_CWORD": "1"}
    asked = {
        "_TYPER_COMPLETE_ARGS": "tinyaya-export ins",
        "_TINYAYA_EXPORT_COMPLETE": f"complete_{shell}",
    }
    asked["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    code = (
        "import sys; sys.argv = ['tinyaya-export']; from tinyaya.export.cli.app import main; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | words | asked, capture_output=True,
        text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert "inspect" in found.stdout, found


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "tinyaya.export.cli.app", "inspect", str(tmp_path)]
    short = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
    assert len(short.stderr.splitlines()) == 1 and short.returncode == 2
    long = subprocess.run([*call, "--debug"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "Traceback" in long.stderr and "MissingFileError" in long.stderr


def test_doctor(command: Command) -> None:
    out = command("doctor").out
    assert "onnxruntime" in out and "memory" in out and "\n- " in out
    found = command("doctor", "--json").json
    assert found["cores"] >= 1 and set(found) == set(Diagnosis.__dataclass_fields__)


def test_doctor_reads_arm_and_takes_what_all_cores_have() -> None:
    small = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n"
    big = "processor\t: 1\nFeatures\t: fp asimd asimdhp asimddp i8mm\nHardware\t: Qualcomm X\n"
    assert read_processor(small + big) == ("Qualcomm X", ("dotprod", "fp16"))
    assert read_processor("") == ("", ())


def test_doctor_where_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyaya.export.system.doctor._text", lambda path: "")
    monkeypatch.setattr("tinyaya.export.system.doctor._version", lambda name: None)
    monkeypatch.setattr("tinyaya.export.system.doctor.memory_bytes", dict)
    found = examine()
    assert found.memory_bytes is None
    assert any("tinyaya-export[serve]" in line for line in found.advice)
    assert all(text for _, text in found.rows())


def test_run_chooses_forms_and_penalties_from_options(
    command: Command, bundles: Mapping[str, Path], tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"enum": ["yes", "no"]}')
    ask = ("run", bundles["onnx"], "--prompt", "Is it so?")
    assert command(*ask, "--json-schema", schema).out.strip() in ('"yes"', '"no"')
    assert command(*ask, "--regex", "[0-9]{3}").out.strip().isdecimal()
    grammar = tmp_path / "g.lark"
    grammar.write_text('start: "a" | "b"')
    assert command(*ask, "--grammar", grammar).out.strip() in ("a", "b")
    cut = command(*ask, "--regex", "[a-z]{500}", "--max-tokens", 3)
    assert cut.code == 2 and "allow more tokens" in cut.err
    both = command(*ask, "--regex", "a", "--json-schema", schema)
    assert both.code == 2 and "exclude each other" in both.err
    for bad, words in ((("--logit-bias", "x"), "ID=NUMBER"), (("--regex", "("), "regular"),
                       (("--json-schema", tmp_path / "absent"), "absent"),
                       (("--min-p", 2), "min_p"), (("--speculate", -1), "speculate")):  # fmt: skip
        found = command(*ask, *bad)
        assert found.code == 2 and words in found.err and len(found.err.splitlines()) == 1
    result = command(*ask, "--json", "--alternatives", 2, "--max-tokens", 3).json
    assert [len(token["alternatives"]) for token in result["tokens"]] == [2, 2, 2]


def test_run_saves_and_loads(command: Command, bundles: Mapping[str, Path], tmp_path: Path) -> None:
    ask = ("run", bundles["onnx"], "--temperature", 0, "--json", "--max-tokens", 6)
    first = command(*ask, "--prompt", "All human beings", "--save", tmp_path / "s").json
    more = command(*ask, "--prompt", " are", "--load", tmp_path / "s").json
    assert len(more["prompt_ids"]) < len(first["prompt_ids"])
    assert command(*ask, "--prompt", "x", "--load", tmp_path).code == 2
