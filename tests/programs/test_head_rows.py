"""Of how many positions a .pte tells, what that costs its program, and those that tell of one."""

import ctypes
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from executorch.exir._serialize._program import deserialize_pte_binary

from tests.conftest import EXPORTED
from tests.programs.conftest import LIMITS, MakeBundle, fed
from tinyaya.export.backends.executorch import backend, decoder
from tinyaya.export.backends.executorch import runner_methods as methods
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import OptionError, ProgramError, Session, open_bundle
from tinyaya.runtime.lookup import Lookup

pytestmark = [pytest.mark.l3, pytest.mark.usefixtures("native")]

VOCAB = 10300
SIZES = ("executorch_prim::", "aten::full.", "aten::_local_scalar_dense.")  # arithmetic on sizes
PRODUCTS = ("linear", "addmm", "mm", "bmm", "matmul")


def sessions(folder: Path) -> list[Session]:
    """Of the official binding and of the native engine."""
    bundle = open_bundle(folder, check_hashes=False)
    return [bundle.session(threads=1, engine=engine) for engine in ("torch", "native")]


def tell_of_one(monkeypatch: pytest.MonkeyPatch, said: int | None = None) -> None:
    """Lower programs as they were before: one row. said: what a constant claims, if any."""
    monkeypatch.setattr(decoder, "told_rows", lambda count, rows: 1)
    monkeypatch.setattr(backend, "rows_in_xnnpack", nullcontext)
    plain = methods.runner_methods

    def others(*args: object) -> dict[str, object]:
        found = plain(*args)
        del found[methods.ROWS_METHOD]
        return found if said is None else {**found, methods.ROWS_METHOD: said}

    monkeypatch.setattr(backend, "runner_methods", others)


def instructions(folder: Path) -> tuple[Counter[str], list[int]]:
    """How often `forward` calls each operator, and the largest size of its logits."""
    program = deserialize_pte_binary((folder / "model.pte").read_bytes()).program
    plan = next(plan for plan in program.execution_plan if plan.name == "forward")
    names = [f"{operator.name}.{operator.overload}" for operator in plan.operators]
    calls = [instruction.instr_args for instruction in plan.chains[0].instructions]
    counts = Counter(
        names[call.op_index] if hasattr(call, "op_index") else type(call).__name__ for call in calls
    )
    return counts, plan.values[plan.outputs[0]].val.sizes


def test_long_steps_tell_of_their_last_position(
    lone: Checkpoint, ids: list[int], make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows for two tokens: steps of three and four cost the head no more than one does."""
    monkeypatch.setattr(methods, "LOGIT_ROWS", 2)
    for session in sessions(make_bundle(lone, "executorch", patched="2 rows")):
        assert session.guesses == 2
        alone = fed(session, ids, [1] * LIMITS.chunk)
        for count, told in ((1, 1), (2, 2), (3, 1), (4, 1)):
            logits_TV = session._engine._run(ids[:count], 0)
            assert logits_TV.shape == (told, VOCAB)
            used = np.isfinite(alone[count - 1])
            np.testing.assert_allclose(logits_TV[-1][used], alone[count - 1][used], atol=1e-4)


def test_programs_that_tell_of_one_position_run_and_refuse_guesses(
    lone: Checkpoint, ids: list[int], make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they were exported before: no constant that says otherwise."""
    tell_of_one(monkeypatch)
    folder = make_bundle(lone, "executorch", preamble=ids[:7], patched="1 row")
    for session in sessions(folder):
        assert session.guesses == 1
        assert session._engine._run(ids[:4], 0).shape == (1, VOCAB)
        session.prefill(ids[:6])
        with pytest.raises(OptionError, match="leave it out or export the bundle again"):
            Lookup(session, 3)


def test_programs_that_tell_of_fewer_positions_than_they_say_are_refused(
    lone: Checkpoint, ids: list[int], make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_of_one(monkeypatch, said=4)
    folder = make_bundle(lone, "executorch", patched="1 row, says 4")
    official, native = sessions(folder)
    for session in (official, native):
        session.step(ids[0])
    with pytest.raises(ProgramError, match=r"1 positions of a step of 2 tokens; expected 2"):
        official.step_rows(ids[1:3])
    with pytest.raises(ProgramError, match="does not run"):
        native.step_rows(ids[1:3])


def test_logits_of_another_size_are_not_written(lone: Checkpoint, make_bundle: MakeBundle) -> None:
    """The caller's memory is for `rows` positions, whatever the program tells of."""
    from tinyaya.runtime.engines.native import _Method, load_library  # once it is built

    _, native = sessions(make_bundle(lone, "executorch"))
    method = native._engine._shared.program
    assert isinstance(method, _Method)
    ids_T, memory = np.arange(20, 24), np.full(5 * VOCAB, 7.0, np.float32)
    for tokens, rows, vocab in ((3, 1, VOCAB), (3, 4, VOCAB), (1, 1, 9), (2, 1, 2 * VOCAB)):
        text = (ctypes.c_char * 512)()
        failed = load_library().tinyaya_forward(
            *(method._program, ids_T.ctypes.data, tokens, 0),
            *(memory.ctypes.data, rows, vocab, text),
        )
        assert failed
        assert text.value.startswith(b"InvalidProgram")
        assert (memory == 7.0).all()


@pytest.mark.parametrize("recipe", EXPORTED)
def test_the_head_stays_xnnpacks(
    lone: Checkpoint,
    ids: list[int],
    make_bundle: MakeBundle,
    recipe: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows add arithmetic on sizes alone, and a copy of each plane of the logits."""
    bundle = (lone, "executorch", recipe)
    counts, sizes = instructions(make_bundle(*bundle, preamble=ids[:7]))
    assert sizes == [1, LIMITS.chunk, VOCAB]
    tell_of_one(monkeypatch)
    before, sizes = instructions(make_bundle(*bundle, preamble=ids[:7], patched="1 row"))
    assert sizes == [1, 1, VOCAB]
    more = {name: count for name, count in (counts - before).items() if not name.startswith(SIZES)}
    assert more == ({} if recipe == "fp32" else {"aten::slice_copy.Tensor_out": 2})
    assert not before - counts
    assert not any(name.split("::")[-1].split(".")[0] in PRODUCTS for name in counts)


@pytest.mark.thorough
@pytest.mark.parametrize("recipe", EXPORTED)
def test_programs_are_those_of_all_passes(
    lone: Checkpoint, recipe: str, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of XNNPACK that are left out would have changed nothing."""
    needed = make_bundle(lone, "executorch", recipe)
    monkeypatch.setattr(backend, "needed_passes", nullcontext)
    everything = make_bundle(lone, "executorch", recipe, patched="all passes")
    assert (needed / "model.pte").read_bytes() == (everything / "model.pte").read_bytes()
