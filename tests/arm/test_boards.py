"""Bundles on emulated boards: they run, and compute what they compute here.

Emulation says which instructions are executed and what comes out, and nothing of time.
"""

from pathlib import Path

from tests import store
from tests.arm.boards import BOARDS, run_on
from tests.arm.facts import TRIMMED, Facts

_KL_RATIO = 0.1  # between processors that round activations to 8 bits
_FP32_KL = 1e-6
_DIFFERENT_PROMPTS = 0.05
# fmov v17.8h, #-1.75 of the half-precision extension, and ret.
_HALF_PRECISION = ("4f05fc11", "d65f03c0")


def test_processor_is_the_boards(facts: Facts, board: str, backend: str) -> None:
    features = facts.there[board, backend, "each"].results["features"]
    assert {name for name, has in features.items() if has} == BOARDS[board].features


def test_nothing_dies(facts: Facts, board: str, backend: str) -> None:
    died = {
        key: outcome.died
        for key, outcome in facts.there.items()
        if key[:2] == (board, backend) and outcome.died
    }
    assert not died


def test_an_illegal_instruction_would_be_seen(cache: Path, tmp_path: Path, board: str) -> None:
    """A half-precision instruction ends a program on the board that lacks it, and only there."""
    task = {"name": "half", "kind": "execute", "words": _HALF_PRECISION}
    died = run_on(BOARDS[board], cache, [task], tmp_path).died
    assert ("Illegal instruction" in died) == ("fp16" not in BOARDS[board].features), died


def test_bundle_is_verified(facts: Facts, board: str, backend: str, recipe: str) -> None:
    checks = facts.there[board, backend, "each"].results[f"verify {recipe}"]
    expected = {"files", "golden token ids", "program repeats its probe"}
    if store.NAMED[f"arm-{backend}-{recipe}"].preamble is None:
        expected.add("preamble is as if it were fed")
    assert checks.keys() == expected
    assert not [name for name, check in checks.items() if not check["ok"]], checks


def test_bundle_speaks(facts: Facts, board: str, backend: str, recipe: str) -> None:
    here = facts.here[backend][f"generate {recipe}"]
    there = facts.there[board, backend, "each"].results[f"generate {recipe}"]
    assert there["text"].strip()
    if recipe == "fp32":
        assert there == here


def test_quality_is_that_of_this_machine(
    facts: Facts, figures: list[str], board: str, backend: str, recipe: str
) -> None:
    here, there = facts.mean_kl(recipe, backend), facts.mean_kl(recipe, backend, board)
    figures.append(f"{board} {backend} {recipe}: {there * 1000:.4f} mnat, here {here * 1000:.4f}")
    if recipe == "fp32":
        assert there < _FP32_KL
        return
    assert there <= here * (1 + _KL_RATIO)
    if backend in BOARDS[board].integer:
        assert there >= here * (1 - _KL_RATIO)


def test_greedy_tokens_are_those_of_this_machine(
    facts: Facts, figures: list[str], greedy_board: str, backend: str
) -> None:
    here = facts.here[backend]["greedy"]
    there = facts.there[greedy_board, backend, "greedy"].results["greedy"]
    different = sum(a != b for a, b in zip(here, there, strict=True))
    figures.append(
        f"{greedy_board} {backend}: {len(here) - different} of {len(here)} prompts are equal"
    )
    assert different <= _DIFFERENT_PROMPTS * len(here)


def test_sessions_keep_their_promises(facts: Facts, board: str, backend: str) -> None:
    kept = facts.there[board, backend, "each"].results["sessions"]
    assert kept == {"rewound": True, "restored": True, "forked": True}


def test_session_of_another_machine_goes_on(facts: Facts, board: str, backend: str) -> None:
    there = facts.there[board, backend, "each"].results["resume"]
    assert there == facts.here[backend]["resume"] and len(there) == 20


def test_trimmed_bundle_runs(facts: Facts, board: str, backend: str) -> None:
    results = facts.there[board, backend, "each"].results
    checks = results[f"verify {TRIMMED}"]
    assert not [name for name, check in checks.items() if not check["ok"]], checks
    assert results[f"generate {TRIMMED}"]["text"].strip()


def test_no_torch_is_there(cache: Path) -> None:
    assert not (cache / "environment/site/torch").exists()
