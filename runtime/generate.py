"""Generates tokens one by one from a session and a prompt, with a summary at the end."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from tinyaya.runtime.errors import ConstraintError, EmptyPromptError, OptionError
from tinyaya.runtime.lookup import Lookup
from tinyaya.runtime.sampling import Alternative, Logits, Sampler, alternatives, log_scale
from tinyaya.runtime.session import Session
from tinyaya.runtime.tokenizer import StopStrings

if TYPE_CHECKING:
    from tinyaya.runtime.constraint import Constraint

StopReason = Literal["stop_token", "stop_string", "max_tokens", "context"]
MOST_ALTERNATIVES = 100


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """What an answer may be, beside how it is sampled.

    stop: texts that end it and are left out. constraint: a form that it keeps to, for this one
    answer. alternatives: of each token, report so many of the likeliest ids with their
    probabilities. speculate: guess up to so many tokens ahead from what was said before; a
    greedy answer is the same, sooner, a sampled one may part from it where a draw falls between
    two tokens, because larger steps round otherwise. Raises OptionError for numbers out of range.
    """

    stop: tuple[str, ...] = ()
    constraint: "Constraint | None" = None
    alternatives: int = 0
    speculate: int = 0

    def __post_init__(self) -> None:
        StopStrings(self.stop)
        if not 0 <= self.alternatives <= MOST_ALTERNATIVES:
            raise OptionError(
                f"alternatives is {self.alternatives}; expected 0 to {MOST_ALTERNATIVES}"
            )
        if self.speculate < 0:
            raise OptionError(f"speculate is {self.speculate}; expected 0 (off) or more")


@dataclass(frozen=True, kw_only=True)
class Token:
    """One generated token; `text` is what it completes, empty within a character.

    log_probability and alternatives are the model's own, before penalties and temperature; they
    are there where AnswerOptions asks for alternatives.
    """

    id: int
    text: str
    log_probability: float | None = None
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Generation:
    """All that was generated; a stop token is neither among the ids nor in the text.

    A stop string is among the ids but not in the text.
    prefill_ms: time to the logits after the prompt. decode_tokens_per_s: tokens a second after
    that, without the time that the caller took between tokens; 0 where there was no step.
    complete: whether the answer has the whole form that a constraint asked for; true without.
    """

    token_ids: tuple[int, ...]
    text: str
    stop_reason: StopReason
    prefill_ms: float
    decode_tokens_per_s: float
    complete: bool = True


def generate(
    session: Session,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    sampler: Sampler,
    options: AnswerOptions | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Generator[Token, None, Generation]:
    """Feed `prompt_ids`, then yield up to `max_tokens` tokens; returns their summary.

    The texts joined are the summary's text. Of the tokens yielded, the session does not yet hold
    the last one, unless a stop token followed it. advance: as `Session.prefill`.
    Raises OptionError or PromptError at the first `next`, before any work.
    """
    if max_tokens < 1:
        raise OptionError(f"max_tokens is {max_tokens}; expected at least 1")
    options = options or AnswerOptions()
    started = perf_counter()
    logits_V = session.prefill(prompt_ids, advance)
    prefill_ms = (perf_counter() - started) * 1000
    sampler.begin(session.ids)
    decoding = _Decoding(session, sampler, max_tokens, options)
    tokens = []
    try:
        for token in _with_text(decoding, decoding.drawn(logits_V)):
            tokens.append(token)
            yield token
    finally:  # also where the caller closes the generator
        decoding.lookup.finish()
    constraint = options.constraint
    return Generation(
        token_ids=tuple(token.id for token in tokens),
        text="".join(token.text for token in tokens),
        stop_reason=decoding.stop_reason,
        prefill_ms=prefill_ms,
        decode_tokens_per_s=decoding.taken / decoding.seconds if decoding.taken else 0.0,
        complete=constraint is None or decoding.stop_reason == "stop_token" or constraint.complete,
    )


def complete(
    session: Session,
    text: str,
    *,
    max_tokens: int = 256,
    sampler: Sampler | None = None,
    options: AnswerOptions | None = None,
    on_token: Callable[[Token], None] = lambda token: None,
) -> Generation:
    """Continue `text`, which gets exactly one BOS if the session is new.

    sampler: None samples as the bundle says, with seed 0. on_token: called with each token.
    Raises EmptyPromptError, and what `generate` raises.
    """
    if not text:
        raise EmptyPromptError("the prompt is empty; expected some text to continue")
    if sampler is None:
        sampler = Sampler(**asdict(session.manifest.sampling))
    prompt_ids = session.tokenizer.encode(text, add_bos=session.position == 0)
    tokens = generate(session, prompt_ids, max_tokens=max_tokens, sampler=sampler, options=options)
    return drain(tokens, on_token)


def drain(
    tokens: Generator[Token, None, Generation],
    on_token: Callable[[Token], None] = lambda token: None,
) -> Generation:
    """Take all tokens of `generate`; `on_token` is called with each. Returns the summary."""
    while True:
        try:
            on_token(next(tokens))
        except StopIteration as end:
            generation: Generation = end.value
            return generation


def require_complete(generation: Generation) -> None:
    """Raise ConstraintError for an answer that ended before it had the form asked for."""
    if not generation.complete:
        raise ConstraintError(
            f"the answer ended ({generation.stop_reason}) after {len(generation.token_ids)} tokens,"
            " before it had the form asked for; allow more tokens"
        )


class _Decoding:
    """Samples and steps in turn; keeps the time of that, and why it ended."""

    def __init__(
        self, session: Session, sampler: Sampler, max_tokens: int, options: AnswerOptions
    ) -> None:
        self.session, self._sampler, self._max_tokens = session, sampler, max_tokens
        self._options = options
        self._stop = frozenset(session.manifest.tokens.stop)
        self.lookup = Lookup(session, options.speculate)
        self.stop_strings = StopStrings(options.stop)
        self.taken, self.seconds = 0, 0.0
        self.stop_reason: StopReason = "max_tokens"

    def drawn(self, logits_V: Logits) -> Iterator[Token]:
        """Yield sampled tokens without text, the first from `logits_V`; no stop token."""
        while True:
            token = self._draw(logits_V)
            if token.id in self._stop:
                self.stop_reason = "stop_token"
                return
            self._sampler.accept(token.id)
            yield token
            if self.stop_strings.found:
                self.stop_reason = "stop_string"
                return
            if self.taken + 1 == self._max_tokens:
                return
            if not self.lookup.room:
                self.stop_reason = "context"
                return
            started = perf_counter()
            logits_V = self.lookup.step(token.id)
            self.seconds += perf_counter() - started
            self.taken += 1

    def _draw(self, logits_V: Logits) -> Token:
        model_V, constraint = logits_V, self._options.constraint
        if constraint:
            logits_V = logits_V.copy()
            constraint.mask(logits_V)
        token = self._sampler.sample(logits_V)
        if constraint and token not in self._stop:
            constraint.accept(token)
        if not self._options.alternatives:
            return Token(id=token, text="")
        return Token(
            id=token,
            text="",
            log_probability=float(model_V[token]) - log_scale(model_V),
            alternatives=alternatives(model_V, self._options.alternatives),
        )


def _with_text(decoding: _Decoding, tokens: Iterator[Token]) -> Iterator[Token]:
    """Yield tokens with their text; the last one also gets what its character lacks.

    So a token without text waits for the next one: nobody could see it anyway.
    So does one after which text is held back, because a stop string may have begun.
    """
    stream, stops = decoding.session.tokenizer.stream(), decoding.stop_strings
    waiting: Token | None = None
    for token in tokens:
        if waiting is not None:
            yield waiting
        piece = stream.add(token.id)
        waiting = replace(token, text=stops.add(piece))
        if stops.found:
            continue
        if piece and not stops.holds:
            yield waiting
            waiting = None
    if waiting is not None:
        rest = "" if stops.found else stops.add(stream.flush()) + stops.flush()
        yield replace(waiting, text=waiting.text + rest)
