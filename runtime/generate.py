"""A session and a prompt in, tokens out one by one, and a summary at the end."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Literal

from runtime.errors import EmptyPromptError, OptionError
from runtime.sampling import Logits, Sampler
from runtime.session import Session

StopReason = Literal["stop_token", "max_tokens", "context"]


@dataclass(frozen=True, kw_only=True)
class Token:
    """One generated token; `text` is what it completes, empty within a character."""

    id: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Generation:
    """All that was generated; a stop token is neither among the ids nor in the text.

    prefill_ms: time to the logits after the prompt. decode_tokens_per_s: steps a second after
    that, without the time that the caller took between tokens; 0 where there was no step.
    """

    token_ids: tuple[int, ...]
    text: str
    stop_reason: StopReason
    prefill_ms: float
    decode_tokens_per_s: float


def generate(
    session: Session, prompt_ids: Sequence[int], *, max_tokens: int, sampler: Sampler
) -> Generator[Token, None, Generation]:
    """Feed `prompt_ids`, then yield up to `max_tokens` tokens; returns their summary.

    The texts joined are the summary's text. Of the tokens yielded, the session does not yet hold
    the last one, unless a stop token followed it. Raises OptionError or PromptError at the first
    `next`, before any work.
    """
    if max_tokens < 1:
        raise OptionError(f"max_tokens is {max_tokens}; expected at least 1")
    started = perf_counter()
    logits_V = session.prefill(prompt_ids)
    prefill_ms = (perf_counter() - started) * 1000
    decoding = _Decoding(session, sampler, max_tokens)
    tokens = []
    for token in _with_text(session, decoding.ids(logits_V)):
        tokens.append(token)
        yield token
    return Generation(
        token_ids=tuple(token.id for token in tokens),
        text="".join(token.text for token in tokens),
        stop_reason=decoding.stop_reason,
        prefill_ms=prefill_ms,
        decode_tokens_per_s=decoding.steps / decoding.seconds if decoding.steps else 0.0,
    )


def complete(
    session: Session,
    text: str,
    *,
    max_tokens: int = 256,
    sampler: Sampler | None = None,
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
    tokens = generate(session, prompt_ids, max_tokens=max_tokens, sampler=sampler)
    while True:
        try:
            on_token(next(tokens))
        except StopIteration as end:
            generation: Generation = end.value
            return generation


class _Decoding:
    """Samples and steps in turn; keeps the time of that, and why it ended."""

    def __init__(self, session: Session, sampler: Sampler, max_tokens: int) -> None:
        self._session, self._sampler, self._max_tokens = session, sampler, max_tokens
        self._stop = frozenset(session.manifest.tokens.stop)
        self.steps, self.seconds = 0, 0.0
        self.stop_reason: StopReason = "max_tokens"

    def ids(self, logits_V: Logits) -> Iterator[int]:
        """Yield sampled ids, the first one from `logits_V`, without the stop token."""
        while (token := self._sampler.sample(logits_V)) not in self._stop:
            yield token
            if self.steps + 1 == self._max_tokens:
                return
            if not self._session.room:
                self.stop_reason = "context"
                return
            started = perf_counter()
            logits_V = self._session.step(token)
            self.seconds += perf_counter() - started
            self.steps += 1
        self.stop_reason = "stop_token"


def _with_text(session: Session, ids: Iterator[int]) -> Iterator[Token]:
    """Yield tokens with their text; the last one also gets what its character lacks.

    So a token without text waits for the next one: nobody could see it anyway.
    """
    stream = session.tokenizer.stream()
    waiting: int | None = None
    for token in ids:
        if waiting is not None:
            yield Token(id=waiting, text="")
        text, waiting = stream.add(token), None
        if text:
            yield Token(id=token, text=text)
        else:
            waiting = token
    if waiting is not None:
        yield Token(id=waiting, text=stream.flush())
