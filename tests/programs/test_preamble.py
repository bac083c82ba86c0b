"""L3: a session that starts from the preamble says what one says that was fed its tokens."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import EXPORTED, UDHR, Exported
from tests.programs.conftest import LIMITS, MakeBundle
from tests.random_checkpoint import WINDOW
from tinyaya.export.backends import BACKENDS
from tinyaya.export.backends.onnx.decoder import PREAMBLE_FILE
from tinyaya.export.proof.probe import replay_preamble
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.recipe import RECIPES
from tinyaya.runtime import Bundle, Logits, ProgramError, Session, open_bundle, read_manifest
from tinyaya.runtime.engines.executorch import ExecutorchEngine
from tinyaya.runtime.session import prefill_evenly

pytestmark = pytest.mark.l3

COUNT = 7  # of preamble ids: two steps of at most 4, within the window of 8
Call = Callable[[Session], Logits | None]


def fed_only(folder: Path) -> Session:
    """A session that does not know of the preamble."""
    bundle = open_bundle(folder, check_hashes=False)
    return Bundle(folder=folder, manifest=replace(bundle.manifest, preamble=None)).session()


@pytest.fixture(params=[(b, r) for b in BACKENDS for r in ("fp32", "int4")], ids="-".join)
def folder(
    request: pytest.FixtureRequest, shallow: Checkpoint, ids: list[int], make_bundle: MakeBundle
) -> Path:
    backend, recipe = request.param
    return make_bundle(shallow, backend, recipe, preamble=ids[:COUNT])


def steps_of(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Positions that the engine is fed at, as they come."""
    positions: list[int] = []
    step = session._engine.step

    def counted(ids: Sequence[int], position: int) -> np.ndarray:
        positions.extend(range(position, position + len(ids)))
        return step(ids, position)

    monkeypatch.setattr(session._engine, "step", counted)
    return positions


def begin(session: Session, ids: Sequence[int]) -> Logits:
    """A prompt that begins with the preamble, in the steps that were taken at the export."""
    session.reset()
    if session.manifest.preamble is None:
        prefill_evenly(session, ids[:COUNT])
        return session.prefill(ids[COUNT:])
    return session.prefill(ids)


def conversations(ids: Sequence[int]) -> list[Call]:
    """One session's life: past the window, anew, back into the preamble and before it."""
    rest = [lambda session, token=token: session.step(token) for token in ids[COUNT + 3 :]]
    return [
        lambda session: begin(session, ids[: COUNT + 3]),
        *rest,  # the rings turn, to the end of the context
        lambda session: begin(session, ids[: COUNT + 1]),
        *rest[:3],
        lambda session: begin(session, ids[: COUNT + 2]),
        lambda session: session.rewind(COUNT),
        *rest[:2],
        lambda session: session.rewind(COUNT - 3),
        *rest[:2],
        lambda session: session.rewind(1),
        *rest[:9],
        lambda session: session.reset(),
        lambda session: session.prefill(ids[::-1]),  # another prompt over all slots
        lambda session: begin(session, ids[: COUNT + 5]),
        *rest[2:],
    ]


def test_restored_is_fed_bit_for_bit(folder: Path, ids: list[int]) -> None:
    fed, restored = fed_only(folder), open_bundle(folder).session()
    compared = 0
    for call in conversations(ids):
        expected, found = call(fed), call(restored)
        assert restored.position == fed.position
        if expected is not None and found is not None:
            np.testing.assert_array_equal(found, expected)
            compared += 1
    assert compared > LIMITS.context


def test_only_the_rest_is_fed(
    folder: Path, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_bundle(folder).session()
    positions, done = steps_of(session, monkeypatch), []
    for _ in range(2):
        session.reset()
        session.prefill(ids[: COUNT + 6], done.append)
    assert positions == 2 * list(range(COUNT, COUNT + 6))
    assert done == 2 * [COUNT, COUNT + 4, COUNT + 6]


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_prompts_are_fed_whole(
    shallow: Checkpoint,
    ids: list[int],
    backend: str,
    make_bundle: MakeBundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_bundle(shallow, backend, preamble=ids[:COUNT])
    session, plain = open_bundle(folder).session(), fed_only(folder)
    positions = steps_of(session, monkeypatch)
    other = [*ids[: COUNT - 1], 11, *ids[COUNT:12]]
    for prompt in (ids[:COUNT], ids[: COUNT - 1], other):
        session.prefill(ids[: COUNT + 1])
        positions.clear()
        session.reset()
        plain.reset()
        np.testing.assert_array_equal(session.prefill(prompt), plain.prefill(prompt))
        assert positions == list(range(len(prompt)))
        session.reset()
    session.step(ids[0])
    positions.clear()
    session.prefill(ids[1 : COUNT + 3])  # not at position 0
    assert positions == list(range(1, COUNT + 3))


def test_cancelled_between_preamble_and_rest(folder: Path, ids: list[int]) -> None:
    def cancel(done: int) -> None:
        raise KeyboardInterrupt

    session, fed = open_bundle(folder).session(), fed_only(folder)
    expected = begin(fed, ids[: COUNT + 2])
    for _ in range(2):
        session.reset()
        session.prefill(ids[::-1])
        session.reset()
        with pytest.raises(KeyboardInterrupt):
            session.prefill(ids[: COUNT + 2], cancel)
        assert session.position == COUNT
        np.testing.assert_array_equal(session.prefill(ids[COUNT : COUNT + 2]), expected)
    session.reset()
    session.prefill(ids[::-1])
    session.reset()
    with pytest.raises(KeyboardInterrupt):
        session.prefill(ids[: COUNT + 2], cancel)
    session.rewind(2)
    begin(fed, ids[: COUNT + 2])
    fed.rewind(2)
    np.testing.assert_array_equal(session.step(5), fed.step(5))
    session.reset()
    fed.reset()
    np.testing.assert_array_equal(session.prefill(ids[3:6]), fed.prefill(ids[3:6]))


def test_rewinds_after_a_restore_are_refused_as_ever(folder: Path, ids: list[int]) -> None:
    fed, restored = fed_only(folder), open_bundle(folder).session()
    for end in (LIMITS.context - 1, WINDOW + 8, WINDOW + 4, WINDOW + 3, COUNT + 1):
        for session in (fed, restored):
            begin(session, ids[: COUNT + 1])
            for token in ids[COUNT + 1 : end]:
                session.step(token)
        for position in range(end):
            allowed = fed._engine.can_rewind(position)
            assert restored._engine.can_rewind(position) == allowed, (end, position)


def test_a_wrong_preamble_is_found(
    shallow: Checkpoint, ids: list[int], own_bundle: MakeBundle
) -> None:
    folder = own_bundle(shallow, "onnx", preamble=ids[:COUNT])
    assert replay_preamble(open_bundle(folder).session(), ids, 1e-9).ok
    values = np.load(folder / PREAMBLE_FILE)
    np.save(folder / PREAMBLE_FILE, values[:, ::-1])
    session = open_bundle(folder, check_hashes=False).session()
    assert not replay_preamble(session, ids, 1e-3).ok


def test_a_preamble_file_of_another_kind(
    shallow: Checkpoint, ids: list[int], own_bundle: MakeBundle
) -> None:
    folder = own_bundle(shallow, "onnx", preamble=ids[:COUNT])
    bundle, path = open_bundle(folder), folder / PREAMBLE_FILE
    values = np.load(path)
    assert values.shape == (2, 2, 2, COUNT, 16)
    for wrong in (values[:, :, :, 1:], values[1:], values.astype(np.float16)):
        np.save(path, wrong)
        with pytest.raises(ProgramError, match=r"expected float32 \[2, 2, 2, 7, 16\]"):
            bundle.session()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ProgramError, match="cannot be read"):
        bundle.session()
    for data in (b"", b"not an array"):
        path.write_bytes(data)
        with pytest.raises(ProgramError, match="cannot be read"):
            bundle.session()
    nameless = replace(bundle.manifest, preamble=replace(bundle.manifest.preamble, file=None))
    with pytest.raises(ProgramError, match="names no file"):
        Bundle(folder=folder, manifest=nameless).session()


def test_executorch_refuses_a_step_beyond_the_context(
    shallow: Checkpoint, ids: list[int], make_bundle: MakeBundle
) -> None:
    """What a stock runner sends there is not taken for the word to restore."""
    folder = make_bundle(shallow, "executorch", preamble=ids[:COUNT])
    engine = ExecutorchEngine(folder, read_manifest(folder), None)
    for start in (LIMITS.context, 2 * LIMITS.context - 1):
        with pytest.raises(RuntimeError):
            engine._shared.program.forward([5], start)


def test_without_a_preamble_the_executorch_graph_is_as_it_was(shallow: Checkpoint) -> None:
    from tinyaya.export.backends import find_backend
    from tinyaya.export.backends.trace import trace_model
    from tinyaya.quantize.quantizer import quantize_model

    model, backend = quantize_model(shallow, RECIPES["fp32"]), find_backend("executorch")
    counts = {}
    for preamble in (0, COUNT):
        graph = trace_model(model, LIMITS, backend, preamble).exported.graph
        targets = [str(node.target) for node in graph.nodes]
        counts[preamble] = sum("update_cache" in name for name in targets)
    assert counts == {0: 4, COUNT: 8}


@pytest.mark.parametrize("recipe", EXPORTED)
def test_chats_have_the_same_greedy_tokens(exported: Exported, recipe: str) -> None:
    """On the trained model, in a session's own chunks; past the window of 128."""
    for path in (bundle.path for bundle in exported[recipe]):
        sessions = [open_bundle(path).session(threads=1), fed_only(path)]
        template = open_bundle(path).template
        for language in ("en", "sw", "hi", "ar", "ja"):
            text = (UDHR / f"{language}.txt").read_text(encoding="utf-8")[200:260]
            prompt = sessions[0].tokenizer.encode(
                template.render([{"role": "user", "content": text}])
            )
            answers = []
            for session in sessions:
                session.reset()
                logits_V, tokens = session.prefill(prompt), []
                while len(tokens) < 80:
                    tokens.append(int(logits_V.argmax()))
                    logits_V = session.step(tokens[-1])
                answers.append(tokens)
            assert answers[0] == answers[1], (path.name, language)
            assert len(prompt) + 80 > 128
