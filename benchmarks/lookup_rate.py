"""Measures how prompt lookup changes the decode rate, where text is copied and elsewhere.

python -m tinyaya.benchmarks.lookup_rate DIR

Answers are given beforehand and "sampled" as they are, so that a model that cannot copy is judged
by its speed alone: what is measured is steps, not whether a model would say so.
"""

from collections.abc import Sequence
from statistics import median
from typing import Annotated

import numpy as np
import typer

from tinyaya.runtime import AnswerOptions, Sampler, Session, drain, generate, lookup, open_bundle
from tinyaya.runtime.sampling import Logits


class _Given(Sampler):
    """Says what it was given."""

    def __init__(self, answer: Sequence[int]) -> None:
        super().__init__()
        self._given = iter(answer)

    def sample(self, logits_V: Logits) -> int:
        """See `Sampler`."""
        return next(self._given)


def tasks(vocab_size: int, prompt_tokens: int) -> dict[str, tuple[list[int], list[int]]]:
    """Prompt and answer: a copy with changes, quotes between new text, and new text."""
    chance = np.random.default_rng(0)

    def new(count: int) -> list[int]:
        found: list[int] = chance.integers(300, vocab_size // 2, count).tolist()
        return found

    prompt = [2, *new(prompt_tokens - 1)]
    edit = [token if chance.random() > 0.05 else 299 for token in prompt[20:110]]
    quotes = [t for at in range(5) for t in (*new(6), *prompt[20 + 20 * at : 34 + 20 * at])]
    words = chance.choice(new(30), 100).tolist()  # pairs repeat, what follows seldom does
    return {
        "edit": (prompt, edit),
        "translate and quote": (prompt, quotes),
        "free": (prompt, words),
    }


def rate(session: Session, prompt: list[int], answer: list[int], ahead: int) -> float:
    """Tokens a second of decode."""
    session.reset()
    tokens = generate(
        session,
        prompt,
        max_tokens=len(answer),
        sampler=_Given(answer),
        options=AnswerOptions(speculate=ahead),
    )
    return drain(tokens).decode_tokens_per_s


def main(
    bundle: str,
    ahead: Annotated[int, typer.Option()] = 6,
    rounds: Annotated[int, typer.Option()] = 5,
    threads: Annotated[int, typer.Option()] = 1,
    engine: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Measure in turns; print medians."""
    opened = open_bundle(bundle, check_hashes=False, engine=engine)
    session = opened.session(threads=threads)
    lookup.DOUBTFUL_MARGIN = 0.0  # logits mean nothing here, so none is in doubt
    for name, (prompt, answer) in tasks(session.manifest.model.vocab_size, 200).items():
        pairs = []
        for _ in range(rounds):
            pairs.append([rate(session, prompt, answer, count) for count in (0, ahead)])
        plain, guessed = (median(column) for column in zip(*pairs, strict=True))
        ratio = median(pair[1] / pair[0] for pair in pairs)
        print(f"{name}: {plain:.1f} to {guessed:.1f} tokens/s, {ratio:.2f} times", flush=True)


if __name__ == "__main__":
    typer.run(main)
