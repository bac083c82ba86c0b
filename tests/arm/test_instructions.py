"""Which instructions the emulated boards execute, and how many: a count, which is no time."""

import json
from pathlib import Path
from statistics import median

import pytest

from tests import store
from tests.arm.facts import Facts

BASELINE = Path(__file__).with_name("instructions.json")
_REGRESSION = 0.03
_PHASES = {1: "prefill", 2: "decode"}  # the marks of guest.count
# What multiplies int4 weights with 8-bit activations, where the processor has it.
_KERNELS = {
    ("pi5", "prefill"): "sdot",
    ("pi5", "decode"): "sdot",
    ("i8mm", "prefill"): "smmla",
    ("i8mm", "decode"): "sdot",
}
_MACS_AT_LEAST = 0.5  # of the products that a token needs, by that instruction
_PROJECTIONS = 8 * (256 * (256 + 64 + 64) + 256 * 256 + 3 * 256 * 768)  # of the small model
_MACS = {"sdot": 16, "smmla": 32}


def _counted(facts: Facts, board: str, backend: str) -> dict[str, dict[str, float]]:
    """Instructions by phase and kind: of the chunk, and of a token (the median)."""
    rows = facts.there[board, backend, "count"].counts
    found = {}
    for mark, phase in _PHASES.items():
        counts = [kinds for number, kinds in rows if number == mark]
        found[phase] = {kind: median(c[kind] for c in counts) for kind in counts[0]}
    return found


def test_kernel_is_the_right_one(facts: Facts, counted_board: str, backend: str) -> None:
    counted = _counted(facts, counted_board, backend)
    chunk = store.NAMED[f"arm-{backend}-int4"].chunk
    for (board, phase), kind in _KERNELS.items():
        if board == counted_board:
            tokens = {"prefill": chunk, "decode": 1}[phase]
            macs = counted[phase][kind] * _MACS[kind]
            assert macs > _MACS_AT_LEAST * _PROJECTIONS * tokens, (phase, counted[phase])


def test_no_more_instructions_than_before(
    facts: Facts,
    figures: list[str],
    counted_board: str,
    backend: str,
    request: pytest.FixtureRequest,
) -> None:
    counted = _counted(facts, counted_board, backend)
    known = json.loads(BASELINE.read_text(encoding="utf-8"))
    if request.config.getoption("--write-baseline"):
        known.setdefault(backend, {})[counted_board] = counted
        BASELINE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    before = known.get(backend, {}).get(counted_board)
    assert before, f"{BASELINE.name} lacks {backend} on {counted_board}; add --write-baseline"
    for phase, kinds in counted.items():
        ratio = kinds["total"] / before[phase]["total"]
        figures.append(
            f"{counted_board} {backend} {phase}: {kinds['total']:.0f} instructions, "
            f"{ratio:.4f} of before"
        )
        assert ratio <= 1 + _REGRESSION, (
            f"{phase}: {ratio:.3f} of {BASELINE.name}; where that is meant, add --write-baseline"
        )
