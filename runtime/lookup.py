"""Steps a session by several tokens at once where the text repeats itself.

What followed the same few tokens earlier is guessed to follow again; one step judges all guesses.
Greedy tokens are those that single steps give: guesses that the sampler does not choose are taken
back, and near ties stepped again. A larger step rounds otherwise, so a draw between two tokens may
fall on the other one. Shape suffixes: V vocabulary.
"""

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.sampling import Logits
from tinyaya.runtime.session import Session

_MAX_MATCH, _MIN_MATCH = 3, 2  # ids that have to repeat, before more are guessed
START_TOKENS = 64
_MAX_LOSS_SHARE = 0.035  # of START_TOKENS, or of all tokens once there are more
_FIRST_REST_TOKENS, _MAX_REST_TOKENS = 8, 64  # without a guess after guesses that did not pay
_MIN_TIMED_STEPS = 2  # steps of one token to be timed before any guess
DOUBTFUL_MARGIN: float = 0.5  # logits nearer than this may change places in a larger step
_AVERAGE_DECAY = 0.8  # of averages, at each new value


class Lookup:
    """Steps of a session that looks up to `ahead` tokens ahead; rests where that costs time.

    Raises OptionError for a program that tells of the last position of a step alone.
    """

    def __init__(self, session: Session, ahead: int) -> None:
        if ahead and session.guesses < 2:
            raise OptionError(
                f"speculate is {ahead}, but the program of this {session.manifest.engine} bundle "
                "tells of the last token of a step alone; leave it out or export the bundle again"
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
        self._pace.token()
        if self._guessed and token == self._guessed[0]:
            del self._guessed[0]
            self._pace.came_true()
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
        started = perf_counter()
        logits_V = self._session.step(token)
        self._pace.again(perf_counter() - started)
        return logits_V

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
        for length in range(_MIN_MATCH, _MAX_MATCH + 1):
            if end >= length:
                self._after[tuple(self._ids[end - length :])] = end
        self._ids.append(token)

    def guess(self, most: int) -> list[int]:
        """Up to `most` ids that followed the last time."""
        for length in range(_MAX_MATCH, _MIN_MATCH - 1, -1):
            place = self._after.get(tuple(self._ids[-length:]))
            if place is not None and most > 0:
                return self._ids[place : place + most]
        return []


class _Pace:
    """How many tokens to guess; what guesses won and lost is counted in steps of one token.

    What all guesses lost stays below a share of the tokens, whatever the text: guesses are tried
    only where that holds even if none comes true and the step's logits are in doubt. Within that,
    guesses rest where they lose on average.
    """

    def __init__(self) -> None:
        self._costs = _Costs()
        self._tokens = 0
        self._lost = 0.0  # steps beyond one a token; below zero: saved
        self._lost_before = 0.0  # the last step with guesses
        self._saved = 0.0  # by a step with guesses, on average
        self._length = 1
        self._tried = self._gained = 0  # guesses of the last step
        self._resting, self._rest = 0, _FIRST_REST_TOKENS

    def token(self) -> None:
        """Note that one more token was taken."""
        self._tokens += 1

    def came_true(self) -> None:
        """Note that the token was guessed, so that no step is needed."""
        self._gained += 1
        self._lost -= 1

    def allowed(self, most: int) -> int:
        """How many of `most` guesses may be tried now."""
        missed = self._judge()
        if self._resting:
            self._resting -= 1
            return 0
        if self._saved < 0:
            self._resting, self._rest = self._rest, min(2 * self._rest, _MAX_REST_TOKENS)
            self._saved = 0.0  # one more chance after that
            return 0
        if missed or not self._costs.known:  # a step of one token is to be timed
            return 0
        left = _MAX_LOSS_SHARE * max(self._tokens, START_TOKENS) - self._lost
        lengths = range(min(most, self._length), 0, -1)
        return next((count for count in lengths if self._costs.most(1 + count) <= left), 0)

    def single(self, seconds: float) -> None:
        """Note the time of a step without guesses."""
        self._costs.note(1, seconds)

    def several(self, seconds: float, guesses: int) -> None:
        """Note the time of a step with guesses."""
        self._lost_before, self._tried = self._lost, guesses
        self._lost += self._costs.note(1 + guesses, seconds) - 1

    def again(self, seconds: float) -> None:
        """Note the time of a step of a token that one with guesses held already."""
        self._lost += self._costs.note(1, seconds)

    def _judge(self) -> bool:
        """The last step with guesses is over: learn from it; whether a guess was wrong."""
        missed = self._gained < self._tried
        if self._tried:
            saved = self._lost_before - self._lost
            self._saved = _AVERAGE_DECAY * self._saved + (1 - _AVERAGE_DECAY) * saved
            if missed:
                self._length = max(1, (self._length + self._gained) // 2)
            else:
                self._length = max(self._length, 2 * self._tried)
                self._rest = _FIRST_REST_TOKENS
        self._tried = self._gained = 0
        return missed


class _Costs:
    """Times of steps by their tokens, as they were measured, in steps of one token."""

    def __init__(self) -> None:
        self._singles, self._single_s = 0, 0.0
        self._steps: dict[int, float] = {1: 1.0}

    @property
    def known(self) -> bool:
        """Whether there is a time to compare with."""
        return self._singles >= _MIN_TIMED_STEPS

    def note(self, tokens: int, seconds: float) -> float:
        """Remember the time of a step of `tokens`; how many steps of one token it is."""
        if tokens == 1:
            self._singles += 1
            weight = max(1 / self._singles, 1 - _AVERAGE_DECAY)
            self._single_s += weight * (seconds - self._single_s)
            return seconds / self._single_s
        steps = seconds / self._single_s
        mean = self._steps.get(tokens, steps)
        self._steps[tokens] = _AVERAGE_DECAY * mean + (1 - _AVERAGE_DECAY) * steps
        return steps

    def most(self, tokens: int) -> float:
        """What a step of `tokens` takes at most: a token more than was measured, a step more."""
        return min(steps + max(0, tokens - size) for size, steps in self._steps.items())


def _close(logits_V: Logits) -> bool:
    """Whether the likeliest ids are so near each other that rounding could choose."""
    return int(np.count_nonzero(logits_V > logits_V.max() - np.float32(DOUBTFUL_MARGIN))) > 1
