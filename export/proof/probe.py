"""Records what a program says of a text, and repeats it anywhere; needs numpy alone.

KL is KL(p || q) in nats, p the reference. Shape suffixes: N positions, V vocabulary rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any

import numpy as np

from tinyaya.export.options import Limits
from tinyaya.export.proof.kl import kl, log_softmax
from tinyaya.runtime import Logits, Session
from tinyaya.runtime.session import prefill_evenly

PROBE_FILE = "probe.json"
SINGLE_STEPS = 49  # at the end of a probe, taken one token at a time
_MAX_CROSSED_WINDOW = 1024  # longer windows are crossed by tests, not by every export
_RECORDED_TOKENS = 8  # likeliest tokens a position


@dataclass(frozen=True, kw_only=True)
class Check:
    """One verdict with the figure behind it."""

    name: str
    ok: bool
    figure: float | str


def probe_ids(
    golden: Mapping[str, Any],
    bos: int,
    limits: Limits,
    window: int | None,
    languages: Sequence[str] = (),
) -> list[int]:
    """A text in all languages, long enough to cross chunks, and the window where it is short.

    languages: what a bundle is for, if not for all; their texts alone, again and again.
    """
    length = probe_length(limits, window)
    rows = [golden[code]["ids"] for code in languages if code in golden]
    if rows:
        return [bos, *islice(cycle(chain.from_iterable(rows)), length - 1)]
    return [bos, *(token for row in golden.values() for token in row["ids"])][:length]


def probe_length(limits: Limits, window: int | None) -> int:
    """Tokens of a probe, if there are as many."""
    past = window + limits.chunk if window and window <= _MAX_CROSSED_WINDOW else 2 * limits.chunk
    return min(limits.context, past + SINGLE_STEPS)


def step_logits(session: Session, ids: Sequence[int], singles: int = SINGLE_STEPS) -> Logits:
    """Logits_NV of the last `singles` + 1 positions: chunks first, then one token at a time."""
    session.reset()
    first = max(1, len(ids) - singles)
    rows = [session.prefill(ids[:first]).copy()]
    rows += [session.step(token).copy() for token in ids[first:]]
    return np.stack(rows)


def record_probe(ids: Sequence[int], logits_NV: Logits, kl_bound: float) -> dict[str, Any]:
    """What `replay_probe` compares with, on whichever machine the bundle lies later."""
    rows = []
    for logits_V in logits_NV:
        logprobs_V = log_softmax(logits_V)
        top = np.argsort(-logprobs_V, kind="stable")[:_RECORDED_TOKENS].tolist()
        rows.append({"ids": top, "logprobs": [round(float(logprobs_V[id_]), 6) for id_ in top]})
    return {"ids": list(ids), "positions": rows, "kl_bound": kl_bound}


def replay_preamble(session: Session, probe: Sequence[int], kl_bound: float) -> Check:
    """Go on from the preamble with the probe's first ids; the figure is the KL, fed to restored."""
    assert session.manifest.preamble is not None
    ids = session.manifest.preamble.ids
    then = probe[1 : 1 + min(_RECORDED_TOKENS, session.manifest.limits.context - len(ids))]
    session.reset()
    restored = [session.prefill([*ids, then[0]]), *map(session.step, then[1:])]
    session.reset()
    prefill_evenly(session, ids)  # no longer than the preamble, so it is fed
    fed = list(map(session.step, then))
    figure = float(kl(np.stack(fed), np.stack(restored)).mean())
    return Check(name="preamble is as if it were fed", ok=figure <= kl_bound, figure=figure)


def replay_probe(session: Session, probe: Mapping[str, Any]) -> Check:
    """Run a recorded probe again; the figure is the KL over the recorded tokens and the rest."""
    logits_NV = step_logits(session, probe["ids"], len(probe["positions"]) - 1)
    figures = []
    for row, logprobs_V in zip(probe["positions"], log_softmax(logits_NV), strict=True):
        then, now = np.exp(row["logprobs"]), np.exp(logprobs_V[row["ids"]])
        p, q = (np.append(x, max(1 - x.sum(), 1e-9)) for x in (then, now))
        figures.append(max(0.0, float((p * np.log(p / q)).sum())))
    figure = float(np.mean(figures))
    return Check(name="program repeats its probe", ok=figure <= probe["kl_bound"], figure=figure)
