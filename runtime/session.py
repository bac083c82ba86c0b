"""Token ids in, logits of the next token out; a session remembers what it was fed.

Shape suffixes: V vocabulary.
"""

from collections.abc import Callable, Sequence

from runtime.engines import Engine
from runtime.errors import EmptyPromptError, PromptError, PromptTooLongError, RewindError
from runtime.manifest import Manifest
from runtime.sampling import Logits
from runtime.tokenizer import Tokenizer


class Session:
    """One conversation with a model; not for several threads at once."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, manifest: Manifest) -> None:
        self.tokenizer, self.manifest = tokenizer, manifest
        self._engine = engine
        self._position = 0

    @property
    def position(self) -> int:
        """How many tokens the session holds; the next one goes here."""
        return self._position

    @property
    def room(self) -> int:
        """How many tokens still fit into the context."""
        return self.manifest.limits.context - self._position

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
            part = list(ids[start : start + chunk])
            logits_V = self._engine.step(part, self._position)
            self._position += len(part)
            advance(start + len(part))
        for low, high in self.manifest.tokens.unused:
            logits_V[low:high] = float("-inf")
        return logits_V

    def step(self, token: int) -> Logits:
        """Feed one id; as `prefill`."""
        return self.prefill([token])

    def reset(self) -> None:
        """Forget everything; always possible."""
        self._position = 0

    def rewind(self, position: int) -> None:
        """Forget the tokens from `position` on; what follows is as if they had never been.

        Raises RewindError if a window layer has already dropped keys that `position` needs.
        """
        if not 0 <= position <= self._position:
            raise RewindError(f"cannot rewind to {position}; expected 0 to {self._position}")
        if position < self._position and not self._engine.can_rewind(position):
            raise RewindError(
                f"position {position} needs keys that the window layers dropped on the way to "
                f"{self._position}; reset() and feed the tokens again"
            )
        self._position = position

    def _restore(self, ids: Sequence[int]) -> int:
        """Start from the preamble if that saves work; how many of `ids` it holds."""
        preamble = self.manifest.preamble
        if self._position or preamble is None or len(ids) <= len(preamble.ids):
            return 0
        if tuple(ids[: len(preamble.ids)]) != preamble.ids:
            return 0
        self._engine.restore()
        self._position = len(preamble.ids)
        return self._position

    def _check(self, ids: Sequence[int]) -> None:
        vocab_size = self.manifest.model.vocab_size
        if not len(ids):
            raise EmptyPromptError("there are no tokens to feed; expected at least one")
        if len(ids) > self.room:
            raise PromptTooLongError(
                f"{len(ids)} tokens do not fit: the session holds {self._position} of a context "
                f"of {self.manifest.limits.context}; shorten the prompt or reset()"
            )
        for token in ids:
            if not 0 <= token < vocab_size:
                raise PromptError(f"id {token} is no token; expected 0 to {vocab_size - 1}")
