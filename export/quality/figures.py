"""Sums up what was judged of a bundle: figures by language, and their means by group.

KL is KL(p || q) in nats, p the unquantized model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyaya.export.languages.table import LANGUAGES, NOT_RANKED
from tinyaya.export.proof.kl import kl, log_softmax
from tinyaya.runtime import Logits


@dataclass(frozen=True, kw_only=True)
class LanguageFigures:
    """One language.

    tokens: judged. p99_kl: 99th percentile over them. top1_agreement: how often both find the same
    token likeliest. nats_per_token, nats_per_byte: the program's surprise at the text;
    reference_nats_per_token: the unquantized model's. collapse_rate: share of sentences that only
    the program loses its way in (see `collapse`); None where none was continued.
    """

    tokens: int
    mean_kl: float
    p99_kl: float
    top1_agreement: float
    nats_per_token: float
    nats_per_byte: float
    reference_nats_per_token: float
    collapse_rate: float | None


@dataclass(frozen=True, kw_only=True)
class TrimFigures:
    """What a trimmed vocabulary costs one language.

    tokens_before, tokens: of its text, with the whole vocabulary and the trimmed one. growth: share
    of tokens more than before. dropped_mass: mean probability of all tokens that are gone, at
    positions of the text.
    """

    tokens_before: int
    tokens: int
    growth: float
    dropped_mass: float


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Means over languages, each counting alike, and the languages themselves.

    recall_past_window: share of facts older than the window that the program recalls, with the
    unquantized model's share beside it; None where that recalls too few for a loss to show.
    trim: what a trimmed vocabulary costs by language; None where it is whole.
    """

    mean_kl: float
    p99_kl: float
    top1_agreement: float
    recall_past_window: float | None
    reference_recall_past_window: float | None
    languages: Mapping[str, LanguageFigures]
    trim: Mapping[str, TrimFigures] | None = None

    @property
    def worst(self) -> str:
        """The language of the largest mean KL."""
        return max(self.languages, key=lambda code: self.languages[code].mean_kl)

    @property
    def worst_to_median(self) -> float:
        """The largest mean KL of a language, as a multiple of the median one."""
        kls = [row.mean_kl for row in self.languages.values()]
        return max(kls) / max(float(np.median(kls)), 1e-12)

    def as_json(self) -> dict[str, Any]:
        """Plain values, with groups by region and by resources."""
        return {
            **asdict(self),
            "worst_language": self.worst,
            "worst_to_median": self.worst_to_median,
            "regions": self._grouped(lambda code: LANGUAGES[code].region),
            "resources": self._grouped(lambda code: LANGUAGES[code].resources),
        }

    def short(self) -> dict[str, Any]:
        """What a bundle keeps of it."""
        return {
            "languages": len(self.languages),
            "tokens": sum(row.tokens for row in self.languages.values()),
            "mean_kl": self.mean_kl,
            "p99_kl": self.p99_kl,
            "top1_agreement": self.top1_agreement,
            "worst_language": self.worst,
            "worst_kl": self.languages[self.worst].mean_kl,
            "recall_past_window": self.recall_past_window,
            **self._trim_short(),
        }

    def _trim_short(self) -> dict[str, float]:
        """The language that a trim lengthens most, and what all lose on average."""
        if not self.trim:
            return {}
        rows = self.trim.values()
        return {
            "most_token_growth": max(row.growth for row in rows),
            "dropped_mass": fmean(row.dropped_mass for row in rows),
        }

    def _grouped(self, group_of: Callable[[str], str]) -> dict[str, dict[str, float]]:
        groups: dict[str, list[LanguageFigures]] = {}
        for code, row in self.languages.items():
            group = group_of(code) if code in LANGUAGES else NOT_RANKED
            groups.setdefault(group, []).append(row)
        names = ("mean_kl", "p99_kl", "top1_agreement", "nats_per_token")
        return {
            group: {name: fmean(getattr(row, name) for row in rows) for name in names}
            for group, rows in sorted(groups.items())
        }


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Positions of one text: KL, agreement and surprise, each an array over positions."""

    kl_N: NDArray[np.float64]
    same_N: NDArray[np.bool_]
    nats_N: NDArray[np.float64]
    reference_nats_N: NDArray[np.float64]


def judge(reference_NV: Logits, program_NV: Logits, following_N: Sequence[int]) -> Judged:
    """Compare logits of the positions before the ids `following_N`."""
    rows = np.arange(len(following_N)), np.asarray(following_N)
    return Judged(
        kl_N=kl(reference_NV, program_NV),
        same_N=reference_NV.argmax(-1) == program_NV.argmax(-1),
        nats_N=-log_softmax(program_NV)[rows],
        reference_nats_N=-log_softmax(reference_NV)[rows],
    )


def language_figures(
    judged: Judged, bytes_per_token: float, collapse_rate: float | None
) -> LanguageFigures:
    """Figures of a language from its positions."""
    nats = float(judged.nats_N.mean())
    return LanguageFigures(
        tokens=len(judged.kl_N),
        mean_kl=float(judged.kl_N.mean()),
        p99_kl=float(np.percentile(judged.kl_N, 99)),
        top1_agreement=float(judged.same_N.mean()),
        nats_per_token=nats,
        nats_per_byte=nats / bytes_per_token,
        reference_nats_per_token=float(judged.reference_nats_N.mean()),
        collapse_rate=collapse_rate,
    )


def summarize(
    languages: Mapping[str, LanguageFigures], recall: tuple[float | None, float | None]
) -> Quality:
    """Means over languages; recall: the program's and the unquantized model's."""
    rows = languages.values()
    return Quality(
        mean_kl=fmean(row.mean_kl for row in rows),
        p99_kl=fmean(row.p99_kl for row in rows),
        top1_agreement=fmean(row.top1_agreement for row in rows),
        recall_past_window=recall[0],
        reference_recall_past_window=recall[1],
        languages=dict(languages),
    )
