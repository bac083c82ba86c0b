"""Renders chat messages to the prompt's text in a sandbox, as transformers does."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

from tinyaya.runtime.errors import ChatTemplateError
from tinyaya.runtime.tokenizer import Tokenizer

_CUT_MARK = "\ufdd0cut\ufdd0"  # noncharacters, which no text holds
_MAX_SIZE = 10_000_000  # characters of a prompt, and numbers that say how many something makes

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.ext import Extension
    from jinja2.parser import Parser

Message = Mapping[str, Any]


class ChatTemplate:
    """A jinja2 template, compiled once; `tokenizer_config` names BOS and EOS.

    Raises ChatTemplateError for a template with a syntax error.
    """

    def __init__(self, source: str, tokenizer_config: Mapping[str, Any]) -> None:
        from jinja2 import TemplateSyntaxError

        environment = _sandbox()
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise ChatTemplateError(
                f"the chat template is broken in line {error.lineno}: {error.message}; "
                "export the bundle again"
            ) from error
        except Exception as error:  # of python, which compiles what jinja makes of it
            raise ChatTemplateError(
                f"the chat template cannot be compiled: {error or type(error).__name__}; "
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
            pieces = self._template.generate(
                messages=messages, add_generation_prompt=add_generation_prompt, **self._special
            )
            return _joined(pieces)
        except Exception as error:  # a template can raise anything
            reason = str(error) or type(error).__name__
            raise ChatTemplateError(f"the chat template refuses the messages: {reason}") from error


def _sandbox() -> "Environment":
    """Out of it no template reaches files or attributes; in it none makes huge texts or numbers.

    How long it runs is not limited: of loops in loops, only what they write.
    """
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("+", "*", "**"))

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            _refuse_above_limit(_size_of_result(operator, left, right))
            return super().call_binop(context, operator, left, right)

        def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
            _refuse_above_limit(*args, *kwargs.values())
            return super().call(context, function, *args, **kwargs)

    environment = Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _generation_tag()],
    )
    environment.filters["tojson"] = _tojson
    environment.filters |= {name: _of_limited(run) for name, run in environment.filters.items()}
    return environment


def _of_limited(run: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose options, such as a width, are no huge numbers; what it filters may be one."""

    @wraps(run)  # and what jinja notes on a filter
    def limited(*args: Any, **kwargs: Any) -> Any:
        options = args[2 if hasattr(run, "jinja_pass_arg") else 1 :]
        _refuse_above_limit(*options, *kwargs.values())
        return run(*args, **kwargs)

    return limited


def _refuse_above_limit(*values: Any) -> None:
    if any(isinstance(value, int) and value > _MAX_SIZE for value in values):
        raise OverflowError(f"it asks for more than {_MAX_SIZE} characters")


def _size_of_result(operator: str, left: Any, right: Any) -> int:
    """Of what `+`, `*` or `**` make: items or characters, or bits of a number."""
    sizes = [
        len(value) if isinstance(value, Sized) else int.bit_length(value)
        for value in (left, right)
        if isinstance(value, Sized | int)
    ]
    whole = [value for value in (left, right) if isinstance(value, int)]
    if len(sizes) < 2 or operator == "+" or (operator == "*" and len(whole) == 2):
        return sum(sizes)
    return sizes[0] * whole[-1] if isinstance(right, int) else sizes[1] * whole[0]


def _joined(pieces: Iterable[str]) -> str:
    text: list[str] = []
    size = 0
    for piece in pieces:
        text.append(piece)
        _refuse_above_limit(size := size + len(piece))
    return "".join(text)


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
