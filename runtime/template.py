"""Renders chat messages to the prompt's text in a sandbox, as transformers does."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tinyaya.runtime.errors import ChatTemplateError
from tinyaya.runtime.tokenizer import Tokenizer

_CUT_MARK = "\ufdd0cut\ufdd0"  # noncharacters, which no text holds

if TYPE_CHECKING:
    from jinja2.ext import Extension
    from jinja2.parser import Parser

Message = Mapping[str, Any]


class ChatTemplate:
    """A jinja2 template, compiled once; `tokenizer_config` names BOS and EOS.

    Raises ChatTemplateError for a template with a syntax error.
    """

    def __init__(self, source: str, tokenizer_config: Mapping[str, Any]) -> None:
        from jinja2 import TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _generation_tag()],
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise ChatTemplateError(
                f"the chat template is broken in line {error.lineno}: {error.message}; "
                "export the bundle again"
            ) from error
        self._special = {
            key: _token_text(tokenizer_config.get(key)) for key in ("bos_token", "eos_token")
        }

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Text of the conversation `messages` (rows of `role` and `content`), BOS included.

        add_generation_prompt: end with the opening of the model's answer.
        Raises ChatTemplateError with the reason that the template gives.
        """
        if not messages:
            raise ChatTemplateError("there are no messages; expected at least one of role 'user'")
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=add_generation_prompt, **self._special
            )
        except Exception as error:  # a template can raise anything
            raise ChatTemplateError(f"the chat template refuses the messages: {error}") from error


def _generation_tag() -> "type[Extension]":
    """The block `{% generation %}`, by which trainers find answers; it writes what is in it."""
    from jinja2.ext import Extension
    from jinja2.nodes import Node, Scope

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012  as jinja2 has it

        def parse(self, parser: "Parser") -> Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return Scope(body, lineno=line)

    return Generation


def _token_text(token: Any) -> str:
    """Read a token of tokenizer_config.json: its text, or an object that holds it."""
    text = token.get("content") if isinstance(token, dict) else token
    return text or ""


def _raise_exception(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _tojson(value: Any, indent: int | None = None) -> str:
    """Jinja's own filter escapes HTML, which no prompt wants."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def encode_chat(
    template: ChatTemplate, tokenizer: Tokenizer, messages: Sequence[Message]
) -> list[int]:
    """See `Bundle.encode_chat`.

    A special token's text in a message is cut within, and the parts are encoded apart.
    """
    shielded = [_shielded(message, tokenizer.special) for message in messages]
    first, *rest = template.render(shielded).split(_CUT_MARK)
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
    content = message["content"].replace(_CUT_MARK, "")
    for text in special:
        content = content.replace(text, f"{text[:1]}{_CUT_MARK}{text[1:]}")
    return {**message, "content": content}
