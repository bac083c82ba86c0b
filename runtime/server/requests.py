"""Reads and checks requests; what is not understood is refused by name."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinyaya.runtime.bundle import Bundle
from tinyaya.runtime.errors import RunError
from tinyaya.runtime.generate import AnswerOptions
from tinyaya.runtime.sampling import Penalties, Sampler
from tinyaya.runtime.template import Message

MOST_STOP_STRINGS, MOST_TOP_LOGPROBS, MOST_BIASES = 16, 20, 1024
_SEED_END = 1 << 64

# Keys that say nothing about the answer.
_IGNORED_KEYS = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
)
_COMMON_KEYS = frozenset(
    {
        "model", "max_tokens", "temperature", "top_p", "top_k", "min_p", "n", "stop", "stream",
        "stream_options", "seed", "frequency_penalty", "presence_penalty", "repetition_penalty",
        "logit_bias", "logprobs", "regex", "grammar", "speculate",
    }
)  # fmt: skip
_CHAT_KEYS = _COMMON_KEYS | {"messages", "max_completion_tokens", "top_logprobs", "response_format"}
_TEXT_KEYS = _COMMON_KEYS | {"prompt"}


class RequestError(RunError):
    """A request that is refused; status: the HTTP status; param: the key that is wrong."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.status = param, status


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be answered, and how; form: kind and text of a constraint, if there is one."""

    chat: bool
    ids: tuple[int, ...]
    max_tokens: int
    sampler: Sampler
    options: AnswerOptions
    form: tuple[str, str] | None
    logprobs: bool
    stream: bool
    usage: bool


class RequestReader:
    """Reads requests to a bundle called `name`, whose answers have at most `most_tokens`."""

    def __init__(self, bundle: Bundle, name: str, most_tokens: int) -> None:
        self._bundle, self._name, self._most_tokens = bundle, name, most_tokens

    def chat(self, body: bytes) -> Request:
        """Read a request for /v1/chat/completions. Raises RunError or OptionError."""
        raw = self._object(body, _CHAT_KEYS)
        ids = self._bundle.encode_chat(_messages(raw.get("messages")))
        asked = raw.get("max_completion_tokens", raw.get("max_tokens"))
        report = _flag(raw, "logprobs")
        return self._request(
            raw,
            ids,
            max_tokens=asked,
            alternatives=max(1, _count(raw, "top_logprobs", MOST_TOP_LOGPROBS)) if report else 0,
        )

    def text(self, body: bytes) -> Request:
        """Read a request for /v1/completions. Raises RunError or OptionError."""
        raw = self._object(body, _TEXT_KEYS)
        prompt = raw.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str) or not prompt:
            raise RequestError("prompt is missing; expected one text", param="prompt")
        ids = self._bundle.tokenizer.encode(prompt)
        alternatives = _count(raw, "logprobs", MOST_TOP_LOGPROBS)
        asked = raw.get("max_tokens")
        return self._request(raw, ids, max_tokens=asked, alternatives=alternatives)

    def _object(self, body: bytes, known: frozenset[str]) -> dict[str, Any]:
        try:
            raw = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the body is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise RequestError("the body is no JSON object")
        raw = {key: value for key, value in raw.items() if value is not None}
        for key in raw.keys() - known - _IGNORED_KEYS:
            raise RequestError(f"{key!r} is not supported; leave it out", param=key)
        if raw.get("model", self._name) != self._name:
            raise RequestError(
                f"there is no model {str(raw['model'])[:80]!r}; known: {self._name}",
                param="model",
                status=404,
            )
        if raw.get("n", 1) != 1:
            raise RequestError("n is not 1; ask once for each answer", param="n")
        return raw

    def _request(
        self, raw: Mapping[str, Any], ids: Sequence[int], *, max_tokens: Any, alternatives: int
    ) -> Request:
        room = self._bundle.manifest.limits.context - len(ids)
        if room < 1:
            raise RequestError(
                f"the prompt has {len(ids)} tokens; expected fewer than the context of "
                f"{self._bundle.manifest.limits.context}"
            )
        options = AnswerOptions(
            stop=_stop(raw.get("stop", [])),
            alternatives=alternatives,
            speculate=_count(raw, "speculate", 64),
        )
        return Request(
            chat="messages" in raw,
            ids=tuple(ids),
            max_tokens=self._max_tokens(max_tokens, room),
            sampler=self._sampler(raw),
            options=options,
            form=_form(raw),
            logprobs=alternatives > 0,
            stream=_flag(raw, "stream"),
            usage=_include_usage(raw.get("stream_options", {})),
        )

    def _max_tokens(self, asked: Any, room: int) -> int:
        most = min(self._most_tokens, room)
        if asked is None:  # half of what is left, so that a conversation can go on
            return min(most, room // 2 or 1)
        if type(asked) is not int or asked < 1:
            raise RequestError(
                f"max_tokens is {str(asked)[:40]}; expected 1 or more", param="max_tokens"
            )
        return min(asked, most)

    def _sampler(self, raw: Mapping[str, Any]) -> Sampler:
        chosen = asdict(self._bundle.manifest.sampling)
        chosen |= {key: _number(raw, key) for key in ("temperature", "top_p") if key in raw}
        if "top_k" in raw:
            chosen["top_k"] = _count(raw, "top_k", 1 << 31)
        penalties = Penalties(
            repetition=_number(raw, "repetition_penalty", 1.0),
            frequency=_number(raw, "frequency_penalty", 0.0),
            presence=_number(raw, "presence_penalty", 0.0),
            bias=_biases(raw.get("logit_bias", {}), self._bundle.manifest.model.vocab_size),
        )
        seed = _count(raw, "seed", _SEED_END) if "seed" in raw else secrets.randbits(32)
        min_p = _number(raw, "min_p", 0.0)
        return Sampler(**chosen, min_p=min_p, penalties=penalties, seed=seed)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _messages(raw: Any) -> list[Message]:
    if not isinstance(raw, list) or not raw:
        raise RequestError("messages is missing; expected a list of messages", param="messages")
    return [_message(item) for item in raw]


def _message(raw: Any) -> Message:
    """A role and a text; parts of a text are joined, other parts refused."""
    if not isinstance(raw, dict) or not isinstance(raw.get("role"), str):
        raise RequestError("a message has no role; expected an object", param="messages")
    role = "system" if raw["role"] == "developer" else raw["role"]
    content = raw.get("content")
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        known = [text for text in texts if isinstance(text, str)]
        content = "".join(known) if len(known) == len(texts) else None
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise RequestError(
            "a message is not understood; expected the role system, user or assistant and "
            "content that is text",
            param="messages",
        )
    return {"role": role, "content": content}


def _stop(raw: Any) -> tuple[str, ...]:
    strings = [raw] if isinstance(raw, str) else raw
    if (
        not isinstance(strings, list)
        or len(strings) > MOST_STOP_STRINGS
        or not all(isinstance(text, str) for text in strings)
    ):
        raise RequestError(
            f"stop is no text and no list of up to {MOST_STOP_STRINGS} texts", param="stop"
        )
    return tuple(strings)


def _form(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and text of the one form that was asked for."""
    found = {kind: _text(raw, kind) for kind in ("regex", "grammar") if kind in raw}
    schema = _schema(raw.get("response_format", {"type": "text"}))
    if schema is not None:
        found["json_schema"] = json.dumps(schema)
    if len(found) > 1:
        raise RequestError(f"{' and '.join(found)} exclude each other; leave out all but one")
    return next(iter(found.items()), None)


def _schema(raw: Any) -> Any:
    kinds: Mapping[str, Callable[[], Any]] = {
        "text": lambda: None,
        "json_object": lambda: {"type": "object"},
        "json_schema": lambda: raw["json_schema"]["schema"],
    }
    try:
        return kinds[raw["type"]]()
    except (KeyError, TypeError) as error:
        raise RequestError(
            f"response_format is not understood; expected a type of {', '.join(kinds)}",
            param="response_format",
        ) from error


def _include_usage(raw: Any) -> bool:
    if not isinstance(raw, dict):
        raise RequestError("stream_options is no object", param="stream_options")
    return _flag(raw, "include_usage")


def _biases(raw: Any, vocab_size: int) -> dict[int, float]:
    if not isinstance(raw, dict) or len(raw) > MOST_BIASES:
        raise RequestError(
            f"logit_bias is no object of up to {MOST_BIASES} ids", param="logit_bias"
        )
    ids = {key: int(key) if key.isdecimal() and len(key) < 10 else -1 for key in raw}
    for key, token in ids.items():
        if not 0 <= token < vocab_size:
            raise RequestError(
                f"logit_bias names {key[:20]!r}; expected ids of 0 to {vocab_size - 1}",
                param="logit_bias",
            )
    return {ids[key]: _number(raw, key) for key in raw}


def _text(raw: Mapping[str, Any], key: str) -> str:
    if not isinstance(raw[key], str):
        raise RequestError(f"{key} is no text", param=key)
    return str(raw[key])


def _flag(raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key, False)
    if type(value) is not bool:
        raise RequestError(f"{key} is {str(value)[:40]!r}; expected true or false", param=key)
    return value


def _number(raw: Mapping[str, Any], key: str, default: float = 0.0) -> float:
    value = raw.get(key, default)
    if type(value) not in (int, float) or abs(value) > 1e9:
        raise RequestError(f"{key[:40]} is {str(value)[:40]!r}; expected a number", param=key)
    return float(value)


def _count(raw: Mapping[str, Any], key: str, most: int) -> int:
    value = raw.get(key, 0)
    if type(value) is not int or not 0 <= value <= most:
        raise RequestError(f"{key} is {str(value)[:40]!r}; expected 0 to {most}", param=key)
    return value
