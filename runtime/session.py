"""Feeds token ids to an engine, returns logits of the next token, remembers what it was fed.

Shape suffixes: V vocabulary, T tokens of a step.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from tinyaya.runtime.engines.base import Engine
from tinyaya.runtime.errors import (
    EmptyPromptError,
    PromptError,
    PromptTooLongError,
    RewindError,
    SessionFileError,
)
from tinyaya.runtime.manifest import Manifest
from tinyaya.runtime.sampling import Logits
from tinyaya.runtime.session_file import SavedSession, read_session, write_session
from tinyaya.runtime.tokenizer import Tokenizer


class Session:
    """One conversation with a model; not for several threads at once."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, manifest: Manifest) -> None:
        self.tokenizer, self.manifest = tokenizer, manifest
        self._engine = engine
        self._ids: list[int] = []

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens that the session holds."""
        return tuple(self._ids)

    @property
    def position(self) -> int:
        """How many tokens the session holds; the next one goes here."""
        return len(self._ids)

    @property
    def room(self) -> int:
        """How many tokens still fit into the context."""
        return self.manifest.limits.context - self.position

    @property
    def guesses(self) -> int:
        """Tokens that `step_rows` may take; 1 where the program tells of the last one alone."""
        return min(self._engine.rows, self.manifest.limits.chunk)

    def prefill(
        self, ids: Sequence[int], advance: Callable[[int], None] = lambda done: None
    ) -> Logits:
        """Feed `ids` in chunks; logits_V after the last one, float32, -inf for ids without token.

        At position 0, ids that begin with the bundle's preamble start from it: only the rest is
        fed. advance: called after that and after each chunk with the number of ids done so far;
        what it raises passes through and leaves the session there. All checks come before any
        work: EmptyPromptError, PromptTooLongError, and PromptError for an id outside the
        vocabulary.
        """
        self._check(ids)
        chunk = self.manifest.limits.chunk
        if known := self._restore(ids):
            advance(known)
        for start in range(known, len(ids), chunk):
            part = [int(token) for token in ids[start : start + chunk]]
            logits_V = self._engine.step(part, self.position)
            self._ids += part
            advance(start + len(part))
        return self._without_unused(logits_V)

    def step(self, token: int) -> Logits:
        """Feed one id; as `prefill`."""
        return self.prefill([token])

    def step_rows(self, ids: Sequence[int]) -> list[Logits]:
        """Feed up to `guesses` ids in one step; logits_V after each of them, as of `prefill`."""
        self._check(ids)
        part = [int(token) for token in ids]
        logits_TV = self._engine.step_rows(part, self.position)
        self._ids += part
        return [self._without_unused(logits_V) for logits_V in logits_TV]

    def keep_prefix(self, ids: Sequence[int]) -> list[int]:
        """Rewind to what `ids` and the session begin with; returns the rest, which is to be fed.

        At least one id is left to feed. Where the common part cannot be gone back to, because
        window layers dropped keys that it needs, the session is empty afterwards.
        """
        common = 0
        for held, wanted in zip(self._ids, ids[: len(ids) - 1], strict=False):
            if held != wanted:
                break
            common += 1
        if common < self.position and not self._engine.can_rewind(common):
            common = 0
        del self._ids[common:]
        return list(ids[common:])

    def reset(self) -> None:
        """Forget everything; always possible."""
        self._ids.clear()

    def rewind(self, position: int) -> None:
        """Forget the tokens from `position` on; what follows is as if they had never been.

        Raises RewindError if a window layer has already dropped keys that `position` needs.
        """
        if not 0 <= position <= self.position:
            raise RewindError(f"cannot rewind to {position}; expected 0 to {self.position}")
        if position < self.position and not self._engine.can_rewind(position):
            raise RewindError(
                f"position {position} needs keys that the window layers dropped on the way to "
                f"{self.position}; reset() and feed the tokens again"
            )
        del self._ids[position:]

    def can_take_back(self, count: int) -> bool:
        """Whether all tokens could be taken back after a step of `count`."""
        return self._engine.keeps(self.position, self.position + count)

    def fork(self) -> "Session":
        """A session that goes on from here by itself; it shares the weights with this one.

        Several sessions of one program must not run at once in several threads.
        """
        other = Session(self._engine.fork(), self.tokenizer, self.manifest)
        other._ids = list(self._ids)
        other._engine.put(self._engine.take(self.position))
        return other

    def save(self, path: Path | str, *, note: str = "") -> None:
        """Write what the session holds to the file `path`, whole or not at all.

        note: kept beside it, such as the messages of a chat. Raises SessionFileError.
        """
        state = self._engine.take(self.position)
        saved = SavedSession(ids=tuple(self._ids), note=note, state=state)
        write_session(Path(path), self.manifest, saved)

    def load(self, path: Path | str) -> str:
        """Replace what the session holds by what `save` wrote; returns its note.

        Raises SessionFileError, and leaves the session as it is, for a file that is broken or
        was written with another bundle.
        """
        saved = read_session(Path(path), self.manifest)
        try:
            self._engine.put(saved.state)
        except ValueError as error:
            raise SessionFileError(f"{path} is broken ({error}); save it again") from error
        self._ids = list(saved.ids)
        return saved.note

    def _restore(self, ids: Sequence[int]) -> int:
        """Start from the preamble if that saves work; how many of `ids` it holds."""
        preamble = self.manifest.preamble
        if self._ids or preamble is None or len(ids) <= len(preamble.ids):
            return 0
        if tuple(ids[: len(preamble.ids)]) != preamble.ids:
            return 0
        self._engine.restore()
        self._ids = list(preamble.ids)
        return self.position

    def _without_unused(self, logits_V: Logits) -> Logits:
        for low, high in self.manifest.tokens.unused:
            logits_V[low:high] = float("-inf")
        return logits_V

    def _check(self, ids: Sequence[int]) -> None:
        vocab_size = self.manifest.model.vocab_size
        if not len(ids):
            raise EmptyPromptError("there are no tokens to feed; expected at least one")
        if len(ids) > self.room:
            raise PromptTooLongError(
                f"{len(ids)} tokens do not fit: the session holds {self.position} of a context "
                f"of {self.manifest.limits.context}; shorten the prompt or reset()"
            )
        for token in ids:
            if not 0 <= token < vocab_size:
                raise PromptError(f"id {token} is no token; expected 0 to {vocab_size - 1}")


def prefill_evenly(session: Session, ids: Sequence[int]) -> None:
    """Feed `ids` in chunks of nearly one length, none of one id where that can be.

    ONNX Runtime multiplies a single row in another way than several, and prompts are several.
    """
    parts = -(-len(ids) // session.manifest.limits.chunk)
    edges = [len(ids) * part // parts for part in range(parts + 1)]
    for first, end in pairwise(edges):
        session.prefill(ids[first:end])
