"""Both engines on the small trained model: chunks, restarts and rewinds past the window."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tinyaya.runtime import Bundle, Logits, RewindError, Session, open_bundle

UDHR = Path(__file__).parents[1] / "assets" / "udhr"
WINDOW, CHUNK = 128, 64
LONG = 330


@pytest.fixture(scope="module", params=["onnx", "executorch"])
def bundle(request: pytest.FixtureRequest, bundles: Mapping[str, Path]) -> Bundle:
    return open_bundle(bundles[request.param])


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> Session:
    return bundle.session(threads=1)


@pytest.fixture(scope="module")
def ids(bundle: Bundle) -> list[int]:
    text = (UDHR / "sw.txt").read_text(encoding="utf-8")
    return bundle.tokenizer.encode(text)[:LONG]


@pytest.fixture(scope="module")
def truth(session: Session, ids: list[int]) -> list[Logits]:
    """Logits after each id, fed one by one to a new session."""
    session.reset()
    return [session.step(token) for token in ids]


@pytest.fixture(scope="module")
def slots(bundle: Bundle) -> int:
    """Slots of a window layer."""
    return min(shape.slots for shape in bundle.manifest.cache)


def feed(session: Session, ids: Sequence[int]) -> None:
    """One by one: how a token is rounded depends on what it is fed with."""
    for token in ids:
        session.step(token)


def kl(expected_V: Logits, got_V: Logits) -> float:
    p, q = (x - np.logaddexp.reduce(x) for x in (expected_V.astype(float), got_V.astype(float)))
    return float((np.exp(p) * (p - q)).sum())


@pytest.mark.parametrize("count", [1, 5, 64, 127, 128, 129, 191, 192, 193, 256, 257, 320, 330])
@pytest.mark.parametrize("step", [1, 37, 64])
def test_chunks_of_any_size_give_the_same(
    session: Session, ids: list[int], truth: list[Logits], count: int, step: int
) -> None:
    session.reset()
    for start in range(0, count, step):
        logits_V = session.prefill(ids[start : min(start + step, count)])
    assert kl(truth[count - 1], logits_V) < 0.002


def test_position_0_starts_anew(session: Session, ids: list[int], truth: list[Logits]) -> None:
    session.reset()
    session.prefill(ids[::-1])
    session.reset()
    for token, expected_V in zip(ids, truth, strict=True):
        np.testing.assert_array_equal(session.step(token), expected_V)


def test_logits_are_the_callers_own(session: Session, ids: list[int]) -> None:
    session.reset()
    first = session.step(ids[0])
    kept = first.copy()
    session.step(ids[1])
    np.testing.assert_array_equal(first, kept)


def test_two_sessions_of_a_bundle_do_not_touch(
    bundle: Bundle, session: Session, ids: list[int], truth: list[Logits]
) -> None:
    other = bundle.session(threads=1)
    session.reset()
    for index in range(20):
        session.step(ids[index])
        np.testing.assert_array_equal(other.step(ids[index]), truth[index])
        session.step(5)


def rewinds(engine: str, slots: int) -> dict[tuple[int, int], bool]:
    """(end, position) -> whether `position` still has its window."""
    reach = slots - WINDOW + 1
    either = {
        (slots, slots - 1): True,
        (slots, 1): True,
        (slots + 1, 0): True,
        (slots + reach + 1, 1): False,
    }
    ring = {
        (300, 299): True,
        (300, 300 - reach): True,
        (300, 300 - reach - 1): False,
        (slots + 1, slots): True,
        (slots + 1, WINDOW): True,
        (slots + 1, WINDOW + 1): True,
        (slots + 2, WINDOW): False,
    }
    appending = {
        (slots + 1, slots): False,
        (slots + reach, slots + 1): True,
        (slots + reach, slots): False,
        (slots + reach + 1, slots + reach): False,
        (slots + 2 * reach, slots + reach + 1): True,
    }
    return either | (ring if engine == "executorch" else appending)


def test_rewinds_are_exact_or_refused(
    bundle: Bundle, session: Session, ids: list[int], truth: list[Logits], slots: int
) -> None:
    for (end, position), allowed in rewinds(bundle.manifest.engine, slots).items():
        session.reset()
        feed(session, ids[:end])
        assert session._engine.can_rewind(position) == allowed, (end, position)
        session._ids = [9] * position  # a refused one too: it must be refused for a reason
        same = np.array_equal(session.step(ids[position]), truth[position])
        assert same == allowed, (end, position)
        following = range(position + 1, min(end + 5, LONG)) if allowed else ()
        for index in following:
            np.testing.assert_array_equal(session.step(ids[index]), truth[index])


def test_a_second_rewind_remembers_what_the_first_lost(
    session: Session, ids: list[int], truth: list[Logits]
) -> None:
    end = 310
    session.reset()
    feed(session, ids[:end])
    lowest = min(filter(session._engine.can_rewind, range(1, end)))
    session.rewind((lowest + end) // 2)
    session.step(5)
    with pytest.raises(RewindError, match=str(lowest - 1)):
        session.rewind(lowest - 1)
    session.rewind(lowest)
    np.testing.assert_array_equal(session.step(ids[lowest]), truth[lowest])
