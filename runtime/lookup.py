"""A session in; its next logits out, several tokens at a step where the text repeats itself.

What followed the same few tokens earlier is guessed to follow again; one step judges all guesses.
The tokens are those that single steps give: guesses that the sampler does not choose are taken
back. Shape suffixes: V vocabulary.
"""

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from runtime.errors import OptionError
from runtime.sampling import Logits
from runtime.session import Session

_LONGEST, _SHORTEST = 3, 2  # ids that have to repeat, before more are guessed
_FIRST_LENGTH = 2
_FIRST_REST, _LONGEST_REST = 8, 512  # tokens without a guess after guesses that did not pay
_CLOSE: float = 0.5  # logits nearer than this may change places by the rounding of a larger step
_MEMORY = 0.8  # of averages, at each new value


class Lookup:
    """Steps of a session that looks up to `ahead` tokens ahead; rests where that costs time.

    Raises OptionError for a program that tells of the last position of a step alone.
    """

    def __init__(self, session: Session, ahead: int) -> None:
        if ahead and session.guesses < 2:
            raise OptionError(
                f"speculate is {ahead}, but the program of this {session.manifest.engine} bundle "
                "tells of the last token of a step alone; leave it out"
            )
        self._session = session
        self._ahead = min(ahead, session.guesses - 1)
        self._places = _Places(session.ids if self._ahead else ())
        self._rows: list[Logits] = []  # after tokens that were guessed and are held already
        self._guessed: list[int] = []
        self._pace = _Pace()

    @property
    def room(self) -> int:
        """As `Session.room`, as if nothing had been guessed."""
        return self._session.room + len(self._guessed)

    def step(self, token: int) -> Logits:
        """As `Session.step`."""
        if not self._ahead:
            return self._session.step(token)
        self._places.add(token)
        if self._guessed and token == self._guessed[0]:
            del self._guessed[0]
            self._pace.gained += 1
            return self._sure(token, self._rows.pop(0))
        self.finish()
        guessed = self._places.guess(self._pace.allowed(self._most()))
        started = perf_counter()
        if not guessed:
            logits_V = self._session.step(token)
            self._pace.single(perf_counter() - started)
            return logits_V
        logits_V, *self._rows = self._session.step_rows([token, *guessed])
        self._guessed = guessed
        self._pace.several(perf_counter() - started, len(guessed))
        return self._sure(token, logits_V)

    def finish(self) -> None:
        """Take back what the session holds and nobody chose."""
        self._take_back(0)

    def _sure(self, token: int, logits_V: Logits) -> Logits:
        """The logits after `token`; from a step of its own where those of more are in doubt."""
        if not _close(logits_V):
            return logits_V
        self._take_back(1)
        return self._session.step(token)

    def _take_back(self, chosen: int) -> None:
        if count := len(self._guessed) + chosen:
            self._session.rewind(self._session.position - count)
        self._guessed, self._rows = [], []

    def _most(self) -> int:
        """Guesses that fit into the context and can be taken back."""
        most = min(self._ahead, self._session.room - 1)
        return most if most > 0 and self._session.can_take_back(1 + most) else 0


class _Places:
    """Where the last few ids stood before."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # ids -> the latest place after them
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Go on; the ids before `token` now lead to it."""
        end = len(self._ids)
        for length in range(_SHORTEST, _LONGEST + 1):
            if end >= length:
                self._after[tuple(self._ids[end - length :])] = end
        self._ids.append(token)

    def guess(self, most: int) -> list[int]:
        """Up to `most` ids that followed the last time."""
        for length in range(_LONGEST, _SHORTEST - 1, -1):
            place = self._after.get(tuple(self._ids[-length:]))
            if place is not None and most > 0:
                return self._ids[place : place + most]
        return []


class _Pace:
    """How many tokens to guess, and whether guesses pay: time saved and lost, step by step."""

    def __init__(self) -> None:
        self.gained = 0  # guesses that came true since the last step with guesses
        self._single_s = self._several_s = 0.0
        self._saved_s = 0.0  # by a step with guesses, on average
        self._length = _FIRST_LENGTH
        self._tried = 0  # guesses of the last step
        self._resting, self._rest = 0, _FIRST_REST

    def allowed(self, most: int) -> int:
        """How many of `most` guesses may be tried now."""
        self._judge()
        if self._resting:
            self._resting -= 1
            return 0
        if self._saved_s < 0:
            self._resting, self._rest = self._rest, min(2 * self._rest, _LONGEST_REST)
            self._saved_s = 0.0  # one more chance after that
            return 0
        return min(most, self._length) if self._single_s else 0

    def single(self, seconds: float) -> None:
        """Note the time of a step without guesses."""
        mean = self._single_s
        self._single_s = _MEMORY * mean + (1 - _MEMORY) * seconds if mean else seconds

    def several(self, seconds: float, guesses: int) -> None:
        """Note the time of a step with guesses."""
        self._several_s, self._tried = seconds, guesses

    def _judge(self) -> None:
        """The last step with guesses is over: count what it gave."""
        if self._tried:
            saved_s = (1 + self.gained) * self._single_s - self._several_s
            self._saved_s = _MEMORY * self._saved_s + (1 - _MEMORY) * saved_s
            if self.gained == self._tried:
                self._length, self._rest = 2 * self._length, _FIRST_REST
            elif not self.gained:
                self._length = max(1, self._length // 2)
        self._tried = self.gained = 0


def _close(logits_V: Logits) -> bool:
    """Whether the likeliest ids are so near each other that rounding could choose."""
    return int(np.count_nonzero(logits_V > logits_V.max() - np.float32(_CLOSE))) > 1
