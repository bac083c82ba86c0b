"""Answers with guesses are those without, on the real program."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime import AnswerOptions, Sampler, drain, generate, open_bundle
from tests.conftest import UDHR


@pytest.mark.parametrize("language", ["en", "sw", "hi"])
def test_guesses_change_no_greedy_token(bundles: Mapping[str, Path], language: str) -> None:
    session = open_bundle(bundles["onnx"]).session(threads=1)
    text = (UDHR / f"{language}.txt").read_text(encoding="utf-8")[:300] * 2
    answers = []
    for ahead in (0, 4):
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
