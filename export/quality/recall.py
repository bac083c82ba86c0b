"""Asks for facts again when they have left the window, and counts the right answers.

A prompt reads "# name = number", prose for longer than the window, "# name =". Only global layers
can see the number then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

import torch

from tinyaya.export.decoder.config import DecoderConfig
from tinyaya.export.decoder.reference import head_logits, reference_hidden
from tinyaya.export.proof.parity import float_model
from tinyaya.export.quality.continuation import greedy
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.quantize.quantizer import QuantizedModel
from tinyaya.runtime import Session

FACT_COUNT = 40
_TOKENS_PAST_WINDOW = 16  # tokens between a fact's leaving the window and the question
_MAX_WINDOW = 1024  # past longer ones, recall takes hours
_MAX_QUESTION_TOKENS = 32  # tokens at most, with the answer
_FACT_NAMES = (
    "amber", "basil", "cedar", "delta", "ember", "fjord", "glade", "hazel", "ivory", "jade",
    "karst", "lotus", "maple", "nectar", "olive", "pearl",
)  # fmt: skip
_FACT_NUMBERS = range(100, 1000)
_MIN_REFERENCE_RECALL = 0.1  # a model that recalls fewer shows no loss


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A prompt, and the ids that answer it."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def facts(
    encode: Callable[[str], list[int]], bos: int, prose: Sequence[int], distance: int
) -> list[Fact]:
    """FACT_COUNT prompts with `distance` tokens of `prose` in between, the same every time.

    encode: without BOS. prose: ids to cut from.
    """
    random, found = Random(0), []
    for _ in range(FACT_COUNT):
        name, number = random.choice(_FACT_NAMES), random.choice(_FACT_NUMBERS)
        start = random.randrange(max(1, len(prose) - distance))
        told = encode(f"\n# {name} = {number}\n")
        between = list(prose[start : start + distance])
        asked = encode(f"\n# {name} =")
        found.append(
            Fact(prompt=(bos, *told, *between, *asked), answer=tuple(encode(f" {number}")))
        )
    return found


def recall_rates(
    session: Session, checkpoint: Checkpoint, prose: Sequence[int]
) -> tuple[float | None, float | None]:
    """The program's and the unquantized model's share of facts recalled; None where useless."""
    reference = reference_recall(checkpoint, prose)
    if reference is None or reference < _MIN_REFERENCE_RECALL:
        return None, reference
    asked = _asked(checkpoint, prose)
    answers = ((greedy(session, fact.prompt, len(fact.answer)), fact.answer) for fact in asked)
    return fmean(tuple(found) == answer for found, answer in answers), reference


def reference_recall(checkpoint: Checkpoint, prose: Sequence[int]) -> float | None:
    """The unquantized model's share of facts recalled; None where the window is too long to try."""
    window, context = checkpoint.config.window, checkpoint.config.max_context
    longest = context - _TOKENS_PAST_WINDOW - 2 * _MAX_QUESTION_TOKENS
    if window is None or window > min(_MAX_WINDOW, longest):
        return None
    model = float_model(checkpoint)
    return fmean(_recalls(model, fact) for fact in _asked(checkpoint, prose))


def _asked(checkpoint: Checkpoint, prose: Sequence[int]) -> list[Fact]:
    encode, window = checkpoint.tokenizer.encoder(), checkpoint.config.window
    assert window is not None
    return facts(encode, checkpoint.tokenizer.bos, prose, window + _TOKENS_PAST_WINDOW)


def _recalls(model: QuantizedModel[DecoderConfig], fact: Fact) -> bool:
    ids_BT = torch.tensor([[*fact.prompt, *fact.answer[:-1]]])
    hidden_BTD = reference_hidden(model, ids_BT)[:, -len(fact.answer) :]
    return tuple(head_logits(model, hidden_BTD)[0].argmax(-1).tolist()) == fact.answer
