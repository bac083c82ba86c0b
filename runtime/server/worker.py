"""Answers requests one at a time, in the one thread that owns the session."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from threading import Condition, Event, Thread

from tinyaya.runtime.bundle import Bundle
from tinyaya.runtime.errors import TinyAyaError
from tinyaya.runtime.generate import Generation, Token, generate
from tinyaya.runtime.server.requests import Request, RequestError
from tinyaya.runtime.session import Session

_log = logging.getLogger(__name__)


class Answer:
    """One request's tokens, and after them its Generation or what went wrong."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.reused = 0
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Token | Generation | Exception] = asyncio.Queue()
        self._cancelled = Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End it before the next step; nothing arrives any more."""
        self._cancelled.set()

    def put(self, item: Token | Generation | Exception) -> None:
        """Hand over from the worker's thread."""
        try:
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, item)
        except RuntimeError:  # the server has ended meanwhile
            self.cancel()

    async def items(self) -> AsyncIterator[Token | Generation]:
        """Yield tokens and, last, the Generation; raises what went wrong."""
        while True:
            item = await self._arrived.get()
            if isinstance(item, Exception):
                raise item
            yield item
            if isinstance(item, Generation):
                return


class Worker:
    """Answers one request after the other; up to `waiting` may wait."""

    def __init__(self, bundle: Bundle, session: Session, waiting: int) -> None:
        self._bundle, self._session, self._most = bundle, session, waiting
        self._waiting: deque[Answer] = deque()
        self._changed = Condition()  # guards what waits
        self._current: Answer | None = None
        self._stopping = False
        self._thread = Thread(target=self._work, name="tinyaya-worker", daemon=True)

    @property
    def load(self) -> tuple[int, bool]:
        """How many requests wait, and whether one is being answered."""
        with self._changed:
            return sum(not answer.cancelled for answer in self._waiting), self._current is not None

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End the answer in work and all that wait; returns when the thread has ended."""
        with self._changed:
            self._stopping = True
            for answer in self._waiting:
                answer.put(RequestError("the server stops", status=503))
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(timeout=60)

    def submit(self, request: Request) -> Answer:
        """Queue a request; raises RequestError (429) when too many wait."""
        answer = Answer(request)
        with self._changed:
            if self._stopping:
                raise RequestError("the server stops", status=503)
            left = [waiting for waiting in self._waiting if not waiting.cancelled]
            if len(left) >= self._most:
                raise RequestError(
                    f"{self._most} requests wait already; try again later", status=429
                )
            self._waiting = deque([*left, answer])
            self._changed.notify()
        return answer

    def _work(self) -> None:
        while (answer := self._next()) is not None:
            try:
                self._answer(answer)
            except _CancelledError:
                pass
            except Exception as error:
                if not isinstance(error, TinyAyaError):
                    _log.exception("an answer failed")
                answer.put(error)

    def _next(self) -> Answer | None:
        """Wait for a request that somebody waits for; None at the end."""
        with self._changed:
            self._current = None
            while not self._stopping:
                while self._waiting:
                    answer = self._waiting.popleft()
                    if not answer.cancelled:
                        self._current = answer
                        return answer
                self._changed.wait()
        return None

    def _answer(self, answer: Answer) -> None:
        request, session = answer.request, self._session
        options = request.options
        if request.form:
            constraint = self._bundle.grammars.constraint(*request.form)
            options = replace(options, constraint=constraint)

        def go_on(done: int = 0) -> None:
            if answer.cancelled or self._stopping:
                raise _CancelledError

        rest = session.keep_prefix(request.ids)
        answer.reused = session.position
        tokens = generate(
            session,
            rest,
            max_tokens=request.max_tokens,
            sampler=request.sampler,
            options=options,
            advance=go_on,
        )
        try:
            while True:
                go_on()
                try:
                    answer.put(next(tokens))
                except StopIteration as end:
                    answer.put(end.value)
                    return
        finally:
            tokens.close()


class _CancelledError(Exception):
    """Nobody waits for the answer."""
