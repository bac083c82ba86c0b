"""Continues sentences with program and model, and counts where only the program loses its way."""

from collections.abc import Sequence
from statistics import fmean

import torch

from tinyaya.export.decoder.reference import head_logits, reference_hidden
from tinyaya.export.languages.texts import Texts
from tinyaya.export.proof.parity import float_model
from tinyaya.export.quality.collapse import collapsed
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import Session

_CONTINUATION_TOKENS = 24
_TOO_SHORT = 8  # tokens of a sentence


def collapse_rates(
    session: Session, checkpoint: Checkpoint, texts: Texts, sentences: int
) -> dict[str, float]:
    """By language: share of sentences, continued from their first half, that collapse.

    Both continue greedily; see `collapsed` for what counts. sentences: of each language.
    """
    tokenizer, prompts = session.tokenizer, []
    for code, text in texts.items():
        lines = [ids for ids in map(tokenizer.encode, text.splitlines()) if len(ids) > _TOO_SHORT]
        longest = session.manifest.limits.context - _CONTINUATION_TOKENS
        prompts += [(code, ids[: min(len(ids) // 2, longest)]) for ids in lines[:sentences]]
    if not prompts:
        return {}
    expected = _reference_greedy(checkpoint, [prompt for _, prompt in prompts])
    found: dict[str, list[bool]] = {}
    for (code, prompt), reference in zip(prompts, expected, strict=True):
        program = greedy(session, prompt, _CONTINUATION_TOKENS)
        both = tokenizer.decode(reference), tokenizer.decode(program)
        found.setdefault(code, []).append(collapsed(prompt, reference, program, both))
    return {code: fmean(rows) for code, rows in found.items()}


def greedy(session: Session, prompt: Sequence[int], count: int) -> list[int]:
    """The likeliest `count` ids after `prompt`."""
    session.reset()
    found: list[int] = []
    logits_V = session.prefill(prompt)
    while True:
        found.append(int(logits_V.argmax()))
        if len(found) == count:
            return found
        logits_V = session.step(found[-1])


def _reference_greedy(checkpoint: Checkpoint, prompts: Sequence[list[int]]) -> list[list[int]]:
    """Greedy ids by the unquantized model: all prompts in each pass over its layers.

    Padding follows what is read, so no position sees it.
    """
    rows, model = [list(prompt) for prompt in prompts], float_model(checkpoint)
    for _ in range(_CONTINUATION_TOKENS):
        longest = max(map(len, rows))
        padded_LT = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        hidden_LTD = reference_hidden(model, padded_LT)
        ends = torch.tensor([len(row) - 1 for row in rows])
        logits_LV = head_logits(model, hidden_LTD[torch.arange(len(rows)), ends][:, None])[:, 0]
        for low, high in checkpoint.tokenizer.unused:
            logits_LV[:, low:high] = -torch.inf
        for row, token in zip(rows, logits_LV.argmax(-1).tolist(), strict=True):
            row.append(token)
    return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]
