"""Answers with guesses are those without, on the real programs and with every engine."""

import numpy as np
import pytest

from tests.conftest import EXPORTED, UDHR, Exported
from tests.programs.conftest import LIMITS, MakeBundle, fed
from tests.random_checkpoint import WINDOW
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import AnswerOptions, Sampler, Session, drain, generate, open_bundle
from tinyaya.runtime.lookup import _Pace

pytestmark = pytest.mark.usefixtures("native")

ENGINES = (("onnx", None), ("executorch", "torch"), ("executorch", "native"))
RANDOM_IDS = np.random.default_rng(2).integers(300, 9000, 320).tolist()
# A value near the edge between two codes may fall on either side in a larger step, which moves all
# logits of a row a little; of other rows, such as that of the next token, all would differ much.
ROUNDED, USUAL = 0.5, 2e-3


@pytest.mark.l3
@pytest.mark.parametrize(("backend", "engine"), ENGINES)
def test_each_row_is_what_a_step_of_its_own_gives(
    tiny: Checkpoint, ids: list[int], backend: str, engine: str | None, make_bundle: MakeBundle
) -> None:
    """Before and past the window's edge, and after some of the rows were taken back."""
    bundle = open_bundle(make_bundle(tiny, backend), check_hashes=False)
    session = bundle.session(engine=engine)
    assert session.guesses == LIMITS.chunk
    alone = fed(session, ids, [1] * LIMITS.context)
    session.reset()
    for count, kept in ((2, 2), (4, 1), (3, 2), (4, 4), (1, 1), (4, 0), (4, 3), (2, 1), (4, 4)) * 2:
        if session.room < count:
            break
        start, may_go_back = session.position, session.can_take_back(count)
        assert may_go_back or backend == "onnx"  # whose window layers have no slots to spare
        rows = session.step_rows(ids[start : start + count])
        assert len(rows) == count
        for offset, logits_V in enumerate(rows):
            np.testing.assert_allclose(logits_V, alone[start + offset], atol=1e-4)
        if may_go_back:
            session.rewind(start + kept)
    assert session.position > 4 * WINDOW


@pytest.mark.l3
@pytest.mark.parametrize("recipe", EXPORTED)
@pytest.mark.parametrize("engine", ["torch", "native"])
def test_rows_of_a_pte_are_those_of_single_steps_in_every_recipe(
    exported: Exported, recipe: str, engine: str
) -> None:
    """Up to eight of them, around window 128 and ring 191; several planes of activations too."""
    session = session_of(exported, recipe, "executorch", engine)
    assert session.guesses == 8
    differences = []
    for start in (0, 30, 124, 186, 300):
        session.reset()
        session.prefill(RANDOM_IDS[:start] or [2])
        fed = session.position
        alone = np.stack([session.step(token) for token in RANDOM_IDS[start : start + 8]])
        for count in (1, 2, 3, 5, 7, 8):
            session.rewind(fed)
            rows = session.step_rows(RANDOM_IDS[start : start + count])
            assert len(rows) == count
            used = np.isfinite(alone[:count])
            differences += [
                np.abs(row[here] - one[here]).max()
                for row, one, here in zip(rows, alone[:count], used, strict=True)
            ]
    assert max(differences) < (1e-4 if recipe == "fp32" else ROUNDED)
    assert np.median(differences) < USUAL


@pytest.mark.l3
@pytest.mark.parametrize(("backend", "engine"), ENGINES)
@pytest.mark.parametrize("recipe", EXPORTED)
@pytest.mark.parametrize("language", ["en", "sw", "hi"])
def test_guesses_change_no_greedy_token(
    exported: Exported,
    recipe: str,
    backend: str,
    engine: str | None,
    language: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_Pace, "allowed", lambda self, most: most)  # however long steps take here
    session = session_of(exported, recipe, backend, engine)
    sizes, step_rows = [], session.step_rows
    monkeypatch.setattr(session, "step_rows", lambda ids: sizes.append(len(ids)) or step_rows(ids))
    text = (UDHR / f"{language}.txt").read_text(encoding="utf-8")[:300] * 2
    answers = []
    for ahead in (0, 7):
        session.reset()
        tokens = generate(
            session,
            session.tokenizer.encode(text),
            max_tokens=120,
            sampler=Sampler(temperature=0.0),
            options=AnswerOptions(speculate=ahead),
        )
        answers.append(drain(tokens))
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[0].text == answers[1].text
    assert len(sizes) > 3
    assert max(sizes) == 8


@pytest.mark.l4
@pytest.mark.parametrize("recipe", EXPORTED)
def test_a_stock_runner_takes_the_last_of_several_rows(exported: Exported, recipe: str) -> None:
    """Prompts of 2 to 8 tokens, which it feeds in one step, and one that ends in such a step."""
    import executorch.kernels.quantized  # noqa: F401
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401
    from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

    session = session_of(exported, recipe, "executorch", "torch")
    folder = next(bundle.path for bundle in exported[recipe] if bundle.backend == "executorch")
    runner = TextLLMRunner(str(folder / "model.pte"), str(folder / "tokenizer.json"))
    words = ("Habari", "Habari ya", "All human beings are")
    last_chunks = []
    for prompt in (*words, "All human beings are born free and equal in dignity and rights. " * 6):
        session.reset()
        ids = session.tokenizer.encode(prompt)
        last_chunks.append(len(ids) % session.manifest.limits.chunk)
        expected = drain(generate(session, ids, max_tokens=30, sampler=Sampler(temperature=0.0)))
        runner.reset()
        pieces: list[str] = []
        config = GenerationConfig(
            echo=False, max_new_tokens=len(expected.token_ids), temperature=0.0, num_bos=1
        )
        runner.generate(prompt, config, token_callback=pieces.append)
        assert "".join(pieces) == expected.text
    assert all(2 <= count <= 8 for count in last_chunks)


def session_of(exported: Exported, recipe: str, backend: str, engine: str | None) -> Session:
    path = next(bundle.path for bundle in exported[recipe] if bundle.backend == backend)
    return open_bundle(path, check_hashes=False).session(threads=1, engine=engine)
