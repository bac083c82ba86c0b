"""Answers the lines of a person at a terminal, or in a pipe, out of one chat.

Answers go to stdout as plain text, everything else to stderr where stdout is not a terminal.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from types import FrameType
from unicodedata import category

from tinyaya.runtime import (
    AnswerOptions,
    Chat,
    Generation,
    Message,
    Sampler,
    SessionFileError,
)
from tinyaya.runtime.errors import TinyAyaError

_PROMPT = "> "
_HELP = """/reset          forget the conversation
/system TEXT    what the model is told before all else; without TEXT: nothing
/save FILE      keep the conversation, and what was computed of it
/load FILE      go on with one that was kept
/stats          speed and room
/exit           leave; so does Ctrl-D. Ctrl-C stops an answer."""


class Terminal:
    """One conversation at a terminal; options hold for all answers."""

    def __init__(
        self, chat: Chat, sampler: Sampler, options: AnswerOptions, *, max_tokens: int
    ) -> None:
        self._chat, self._sampler, self._options = chat, sampler, options
        self._max_tokens = max_tokens
        self._last: Generation | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "reset": self._reset,
            "system": self._system,
            "save": self._save,
            "load": self._load,
            "stats": self._stats,
            "help": lambda rest: _say(_HELP),
        }

    def run(self) -> None:
        """Answer lines until they end, or one says /exit."""
        _forgive_encodings()
        for line in _lines():
            if line in ("/exit", "/quit"):
                return
            try:
                self._take(line)
            except TinyAyaError as error:
                _say(f"error: {error}")

    def _take(self, line: str) -> None:
        if not line.startswith("/"):
            return self._answer(line) if line else None
        name, _, rest = line[1:].partition(" ")
        if name not in self._commands:
            return _say(f"/{name} is no command; known: /{', /'.join(self._commands)}, /exit")
        return self._commands[name](rest.strip())

    def _answer(self, line: str) -> None:
        """Print the answer as it comes; Ctrl-C ends it where it is, between two steps."""
        with _interrupts() as interrupted:

            def advance(done: int) -> None:
                if interrupted:
                    raise _StoppedError

            tokens = self._chat.ask(
                line,
                max_tokens=self._max_tokens,
                sampler=self._sampler,
                options=self._options,
                advance=advance,
            )
            with suppress(_StoppedError):
                while not interrupted:
                    try:
                        print(printable(next(tokens).text), end="", flush=True)
                    except StopIteration as end:
                        self._last = end.value
                        break
            tokens.close()
            print(flush=True)
            if interrupted:
                _say("(stopped)")

    def _reset(self, rest: str) -> None:
        self._chat.reset()
        _say("(new conversation)")

    def _system(self, rest: str) -> None:
        self._chat.system = rest or None
        _say("(the model is told so from now on)" if rest else "(no system text)")

    def _save(self, rest: str) -> None:
        if not rest:
            return _say("/save needs the name of a file")
        note = {"system": self._chat.system, "messages": self._chat.messages}
        self._chat.session.save(rest, note=json.dumps(note))
        return _say(f"(saved {self._chat.session.position} tokens)")

    def _load(self, rest: str) -> None:
        if not rest:
            return _say("/load needs the name of a file")
        system, messages = parse_note(self._chat.session.load(rest), rest)
        self._chat.system, self._chat.messages = system, messages
        return _say(f"({len(messages)} messages, {self._chat.session.position} tokens)")

    def _stats(self, rest: str) -> None:
        session, last = self._chat.session, self._last
        _say(f"{session.position} tokens held, room for {session.room}")
        if last:
            _say(
                f"last answer: {self._chat.reused} tokens reused, {last.prefill_ms:.0f} ms to the "
                f"first token, {last.decode_tokens_per_s:.1f} tokens/s, ended by {last.stop_reason}"
            )


def parse_note(note: str, path: str) -> tuple[str | None, list[Message]]:
    """System text and messages of a saved chat; raises SessionFileError for another session."""
    try:
        found = json.loads(note)
        system, messages = found["system"], found["messages"]
        whole = all(set(m) == {"role", "content"} for m in messages)
        texts = [text for m in messages for text in m.values()]
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        whole, texts = False, []
    if not whole or not all(type(text) is str for text in texts):
        raise SessionFileError(f"{path} is a session, but no saved chat")
    return system, messages


def printable(text: str) -> str:
    """`text` without control characters, which steer terminals; scripts need joiners, they stay."""
    return "".join(c for c in text if c in "\n\t" or category(c) != "Cc")


class _StoppedError(Exception):
    """Ctrl-C came while the prompt was fed."""


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that is filled at Ctrl-C; a step is never broken off in the middle."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _lines() -> Iterator[str]:
    """Lines without blanks at their ends; from a terminal with a prompt and a history."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            yield line.strip()
        return
    with suppress(ImportError):  # not everywhere; without it arrows do not work
        import readline  # noqa: F401  input() uses it
    _say("/help lists the commands")
    while True:
        try:
            yield input(_PROMPT).strip()
        except EOFError:
            _say("")
            return
        except KeyboardInterrupt:
            _say("\n/exit or Ctrl-D leaves")


def _forgive_encodings() -> None:
    """Bytes that are no text are refused as a prompt, and terminals show what they can."""
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def _say(text: str) -> None:
    print(text, file=sys.stdout if sys.stdout.isatty() else sys.stderr, flush=True)
