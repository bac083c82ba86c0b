"""Real caches on both engines: saved, restored, forked and rewound bit for bit."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tinyaya.runtime import RewindError, Session, SessionFileError, open_bundle

ENGINES = ("onnx", "executorch")
LENGTHS = (1, 64, 127, 128, 129, 191, 192, 193, 300)  # around window 128 and ring 191


@pytest.fixture(scope="module")
def ids() -> list[int]:
    return [2, *np.random.default_rng(3).integers(300, 9000, 400).tolist()]


@pytest.fixture(scope="module", params=ENGINES)
def session(request: pytest.FixtureRequest, bundles: Mapping[str, Path]) -> Session:
    return open_bundle(bundles[request.param]).session(threads=1)


@pytest.mark.parametrize("length", LENGTHS)
def test_restored_is_as_it_was(
    session: Session, ids: list[int], length: int, tmp_path: Path
) -> None:
    session.reset()
    session.prefill(ids[:length])
    session.save(tmp_path / "s")
    expected = [session.step(token) for token in ids[length : length + 4]]
    session.reset()
    session.prefill(ids[200:350])  # something else lies in the caches
    session.load(tmp_path / "s")
    for token, logits_V in zip(ids[length : length + 4], expected, strict=True):
        np.testing.assert_array_equal(session.step(token), logits_V)


def test_forks_do_not_disturb_each_other(session: Session, ids: list[int]) -> None:
    session.reset()
    session.prefill(ids[:200])
    fork = session.fork()
    again = fork.fork()
    left = [session.step(token) for token in ids[200:204]]
    other = [fork.step(token) for token in ids[300:304]]
    turns = [again.step(token) for token in ids[200:204]]
    np.testing.assert_array_equal(left, turns)
    session.rewind(200)
    np.testing.assert_array_equal([session.step(token) for token in ids[300:304]], other)


def test_a_rewound_session_is_saved_as_it_is(
    session: Session, ids: list[int], tmp_path: Path
) -> None:
    session.reset()
    session.prefill(ids[:150])
    session.rewind(140)
    session.save(tmp_path / "s")
    expected = session.step(7)
    session.reset()
    session.load(tmp_path / "s")
    np.testing.assert_array_equal(session.step(7), expected)


def test_rewind_after_a_restore_knows_what_rings_hold(
    session: Session, ids: list[int], tmp_path: Path
) -> None:
    session.reset()
    session.prefill(ids[:300])
    session.save(tmp_path / "s")
    session.reset()
    session.load(tmp_path / "s")
    with pytest.raises(RewindError, match="window layers dropped"):
        session.rewind(100)
    session.rewind(299)
    assert session.position == 299


def test_the_preamble_alone_is_saved(session: Session, tmp_path: Path) -> None:
    preamble = session.manifest.preamble
    assert preamble is not None
    session.reset()

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.prefill([*preamble.ids, 9], stop)
    assert session.position == len(preamble.ids)
    session.save(tmp_path / "s")
    expected = session.step(9)
    session.reset()
    session.load(tmp_path / "s")
    np.testing.assert_array_equal(session.step(9), expected)


def test_the_other_engines_session_is_refused(bundles: Mapping[str, Path], tmp_path: Path) -> None:
    onnx = open_bundle(bundles["onnx"]).session(threads=1)
    onnx.prefill([2, 9])
    onnx.save(tmp_path / "s")
    other = open_bundle(bundles["executorch"]).session(threads=1)
    other.prefill([2, 9, 8])
    with pytest.raises(SessionFileError, match="another bundle"):
        other.load(tmp_path / "s")
    assert other.position == 3


def test_rows_are_those_of_single_steps(bundles: Mapping[str, Path], ids: list[int]) -> None:
    session = open_bundle(bundles["onnx"]).session(threads=1)
    session.prefill(ids[:100])
    rows = session.step_rows(ids[100:106])
    session.rewind(100)
    for token, logits_V in zip(ids[100:106], rows, strict=True):
        alone = session.step(token)
        assert np.abs(alone - logits_V)[np.isfinite(alone)].max() < 0.3
        assert alone.argmax() == logits_V.argmax()
