"""Messages in, an answer out token by token; what a session already holds is not fed again."""

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from runtime.errors import ChatTemplateError
from runtime.generate import AnswerOptions, Generation, Token, generate
from runtime.sampling import Sampler
from runtime.session import Session
from runtime.template import ChatTemplate, Message
from runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from runtime.bundle import Bundle

_CUT = "\ufdd0cut\ufdd0"  # noncharacters, which no text holds


def encode_chat(
    template: ChatTemplate, tokenizer: Tokenizer, messages: Sequence[Message]
) -> list[int]:
    """See `Bundle.encode_chat`.

    A special token's text in a message is cut within, and the parts are encoded apart.
    """
    shielded = [_shielded(message, tokenizer.special) for message in messages]
    first, *rest = template.render(shielded).split(_CUT)
    ids = tokenizer.encode(first)
    while ids[1:2] == ids[:1]:  # a template that writes what the tokenizer adds
        del ids[0]
    for part in rest:
        ids += tokenizer.encode(part, add_bos=False)
    return ids


def _shielded(message: Message, special: Sequence[str]) -> Message:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise ChatTemplateError(
            "a message has no text; expected an object with 'role' and 'content', both texts"
        )
    content = message["content"].replace(_CUT, "")
    for text in special:
        content = content.replace(text, f"{text[:1]}{_CUT}{text[1:]}")
    return {**message, "content": content}


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
