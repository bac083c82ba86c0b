"""Evaluates a bundle against the checkpoint that it was made from, on texts by language.

The bundle's own program is judged, one token at a time as it will be used, against the checkpoint
in float32, whose layers are read once for all texts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tinyaya.export.decoder.reference import head_logits, reference_hidden
from tinyaya.export.languages.texts import Texts, evaluation_texts
from tinyaya.export.proof.parity import float_model
from tinyaya.export.quality.continuation import collapse_rates
from tinyaya.export.quality.figures import (
    LanguageFigures,
    Quality,
    judge,
    language_figures,
    summarize,
)
from tinyaya.export.quality.recall import recall_rates
from tinyaya.export.quality.regional import trim_figures
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.export.vocabulary.trim import open_as
from tinyaya.runtime import Logits, Session, open_bundle
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Progress

Stepped = Callable[[Sequence[int]], Logits]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """texts: a folder of <language>.txt, None takes what is shipped for evaluation.

    tokens: of each language. sentences: of each language that are continued, 0 for none. adapters:
    folders of those that are merged into the checkpoint.
    """

    texts: Path | None = None
    tokens: int = 256
    sentences: int = 2
    adapters: tuple[Path | str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be judged."""
        if self.tokens < 2 or self.sentences < 0:
            raise OptionError(
                f"tokens is {self.tokens} and sentences {self.sentences}; expected at least 2 and 0"
            )


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The unquantized model on texts, for any program of the same model to be judged by.

    ids: of whole texts, BOS first. hidden_LTD: before the final norm, of the first T ids of each.
    """

    checkpoint: Checkpoint
    texts: Texts
    ids: Mapping[str, list[int]]
    hidden_LTD: Tensor

    @classmethod
    def of(cls, checkpoint: Checkpoint, options: EvaluateOptions, context: int) -> "Reference":
        """Run the model; context: the most ids that programs take."""
        texts, encode = _texts(checkpoint, options), checkpoint.tokenizer.encoder()
        bos = checkpoint.tokenizer.bos
        ids = {code: [bos, *encode(text)] for code, text in texts.items()}
        count = min(options.tokens, context, *(len(row) - 1 for row in ids.values()))
        if count < 1:
            raise OptionError("a text has no token; expected at least one in every language")
        rows_LT = torch.tensor([row[:count] for row in ids.values()])
        hidden_LTD = reference_hidden(float_model(checkpoint), rows_LT)
        return cls(checkpoint=checkpoint, texts=texts, ids=ids, hidden_LTD=hidden_LTD)

    def judge(
        self, stepped: Stepped, rates: Mapping[str, float], advance: Callable[[], None]
    ) -> dict[str, LanguageFigures]:
        """Figures of a program by language.

        stepped: ids -> the program's logits_NV after each. rates: of collapse.
        """
        model, found = float_model(self.checkpoint), {}
        count = self.hidden_LTD.shape[1]
        for (code, row), hidden_TD in zip(self.ids.items(), self.hidden_LTD, strict=True):
            reference_NV = head_logits(model, hidden_TD[None])[0].numpy()
            for low, high in self.checkpoint.tokenizer.unused:
                reference_NV[:, low:high] = -np.inf
            judged = judge(reference_NV, stepped(row[:count]), row[1 : count + 1])
            bytes_per_token = len(self.texts[code].encode()) / (len(row) - 1)
            found[code] = language_figures(judged, bytes_per_token, rates.get(code))
            advance()
        return found


def evaluate_bundle(
    folder: Path, source: Path | str, options: EvaluateOptions, progress: Progress
) -> Quality:
    """Judge the bundle in `folder` against the checkpoint `source`; raises ExportError."""
    bundle = open_bundle(folder)
    checkpoint = open_as(source, bundle, options.adapters, progress)
    progress.stage("fp32 by language")
    reference = Reference.of(checkpoint, options, bundle.manifest.limits.context)
    session = bundle.session()
    progress.stage("continuations")
    rates = collapse_rates(session, checkpoint, reference.texts, options.sentences)
    advance = progress.stage("program by language", len(reference.ids))
    languages = reference.judge(bundle_steps(session), rates, advance)
    progress.stage("recall past the window")
    prose = [token for row in reference.ids.values() for token in row[1:]]
    quality = summarize(languages, recall_rates(session, checkpoint, prose))
    if not checkpoint.trim:
        return quality
    progress.stage("what the trim costs")
    return replace(quality, trim=trim_figures(checkpoint, reference.texts, options.tokens))


def _texts(checkpoint: Checkpoint, options: EvaluateOptions) -> Texts:
    """Texts to judge by; of a trimmed vocabulary's own languages where none are named."""
    texts, own = evaluation_texts(options.texts), checkpoint.languages
    if options.texts or not own:
        return texts
    if not any(code in texts for code in own):
        raise OptionError(f"no text of {', '.join(own)} is shipped; add --texts DIR")
    return {code: texts[code] for code in own if code in texts}


def bundle_steps(session: Session) -> Stepped:
    """Feed ids one at a time, from the start."""

    def stepped(ids: Sequence[int]) -> Logits:
        session.reset()
        return np.stack([session.step(token).copy() for token in ids])

    return stepped
