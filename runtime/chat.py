"""Answers messages token by token; what a session already holds is not fed again."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from tinyaya.runtime.generate import AnswerOptions, Generation, Token, generate
from tinyaya.runtime.sampling import Sampler
from tinyaya.runtime.session import Session
from tinyaya.runtime.template import Message

if TYPE_CHECKING:
    from tinyaya.runtime.bundle import Bundle


class Chat:
    """A conversation that grows; each turn feeds only what the session does not hold yet.

    system: what the model is told before all else; None leaves that to the template.
    """

    def __init__(self, bundle: "Bundle", session: Session, *, system: str | None = None) -> None:
        self._bundle, self.session = bundle, session
        self.messages: list[Message] = []
        self.system = system
        self.reused = 0
        """How many tokens the last turn did not have to feed."""

    def ask(
        self,
        text: str,
        *,
        max_tokens: int = 1024,
        sampler: Sampler,
        options: AnswerOptions | None = None,
        advance: Callable[[int], None] = lambda done: None,
    ) -> Generator[Token, None, Generation]:
        """Yield the answer to `text`, as `generate` does; both become part of the conversation.

        So does what has come of an answer that is closed early. What raises before the first
        token leaves the conversation as it was.
        """
        question = {"role": "user", "content": text}
        system = [{"role": "system", "content": self.system}] if self.system else []
        ids = self._bundle.encode_chat([*system, *self.messages, question])
        rest = self.session.keep_prefix(ids)
        self.reused = self.session.position
        tokens = generate(
            self.session,
            rest,
            max_tokens=max_tokens,
            sampler=sampler,
            options=options,
            advance=advance,
        )
        return (yield from self._remembered(question, tokens))

    def _remembered(
        self, question: Message, tokens: Generator[Token, None, Generation]
    ) -> Generator[Token, None, Generation]:
        """Pass tokens on; once there is one, or none is to come, both are part of the messages."""
        parts: list[str] = []
        begun = False
        try:
            while True:
                try:
                    token = next(tokens)
                except StopIteration as end:
                    begun = True
                    generation: Generation = end.value
                    return generation
                begun = True
                parts.append(token.text)
                yield token
        finally:
            tokens.close()
            if begun:
                answer = {"role": "assistant", "content": "".join(parts)}
                self.messages += [question, answer]

    def reset(self) -> None:
        """Forget the conversation; the system text stays."""
        self.messages.clear()
        self.session.reset()
