"""Measures what a trimmed vocabulary costs each language.

The whole vocabulary is the measure: how many tokens a text has with it, and how much probability
the unquantized model gives there to tokens that are gone. Shape suffixes: T tokens, D width,
V vocabulary rows.
"""

from collections.abc import Mapping

import torch

from tinyaya.export.decoder.reference import head_logits, reference_hidden
from tinyaya.export.proof.parity import float_model
from tinyaya.export.quality.figures import TrimFigures
from tinyaya.export.source.checkpoint import Checkpoint


def trim_figures(
    checkpoint: Checkpoint, texts: Mapping[str, str], tokens: int
) -> dict[str, TrimFigures]:
    """Figures by language of a trimmed checkpoint; tokens: whose next token is looked at."""
    whole, bos = checkpoint.whole, checkpoint.whole.tokenizer.bos
    before, after = whole.tokenizer.encoder(), checkpoint.tokenizer.encoder()
    dropped_V = _dropped(checkpoint)
    found = {}
    for code, text in texts.items():
        ids = before(text)
        hidden_BTD = reference_hidden(float_model(whole), torch.tensor([[bos, *ids[:tokens]]]))
        logits_TV = head_logits(float_model(whole), hidden_BTD)[0]
        for low, high in whole.tokenizer.unused:
            logits_TV[:, low:high] = -torch.inf
        mass_T = logits_TV.softmax(-1)[:, dropped_V].sum(-1)
        count = len(after(text))
        found[code] = TrimFigures(
            tokens_before=len(ids),
            tokens=count,
            growth=count / len(ids) - 1,
            dropped_mass=float(mass_T.mean()),
        )
    return found


def _dropped(checkpoint: Checkpoint) -> torch.Tensor:
    """Whether a row of the whole table is gone."""
    dropped_V = torch.ones(checkpoint.whole.config.vocab_size, dtype=torch.bool)
    if checkpoint.trim:
        dropped_V[list(checkpoint.trim.kept)] = False
    return dropped_V
