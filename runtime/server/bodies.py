"""Writes answers as the JSON bodies of OpenAI's protocol."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tinyaya.runtime.generate import Generation, Token
from tinyaya.runtime.server.worker import Answer
from tinyaya.runtime.tokenizer import Tokenizer

_FINISH_REASONS: Mapping[str, str] = {
    "stop_token": "stop",
    "stop_string": "stop",
    "max_tokens": "length",
    "context": "length",
}


class Bodies:
    """The bodies for one answer, which share its name and time."""

    def __init__(self, answer: Answer, model: str, tokenizer: Tokenizer) -> None:
        self._answer, self._tokenizer = answer, tokenizer
        self._chat = answer.request.chat
        self._kind = "chat.completion" if self._chat else "text_completion"
        name = "chatcmpl" if self._chat else "cmpl"
        self._head = {
            "id": f"{name}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, tokens: Sequence[Token], generation: Generation) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choice = self._choice(tokens, _FINISH_REASONS[generation.stop_reason])
        if self._chat:
            choice["message"] = {"role": "assistant", "content": generation.text}
        else:
            choice["text"] = generation.text
        return self._body([choice], usage=self._usage(generation))

    def opening(self) -> list[bytes]:
        """What a stream begins with: a chat's role."""
        if not self._chat:
            return []
        choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        return [self._event([choice])]

    def piece(self, token: Token) -> bytes:
        """One token of a stream."""
        choice = self._choice([token], None)
        if self._chat:
            choice["delta"] = {"content": token.text}
        else:
            choice["text"] = token.text
        return self._event([choice])

    def closing(self, generation: Generation) -> list[bytes]:
        """What a stream ends with."""
        reason = _FINISH_REASONS[generation.stop_reason]
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        if self._chat:
            choice["delta"] = {}
        else:
            choice["text"] = ""
        events = [self._event([choice])]
        if self._answer.request.usage:
            events.append(self._event([], usage=self._usage(generation)))
        return [*events, b"data: [DONE]\n\n"]

    def _choice(self, tokens: Sequence[Token], finish: str | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if self._answer.request.logprobs:
            choice["logprobs"] = self._chat_scores(tokens) if self._chat else self._scores(tokens)
        return choice

    def _chat_scores(self, tokens: Sequence[Token]) -> dict[str, Any]:
        return {
            "content": [
                {
                    **self._score(token.id, token.log_probability),
                    "top_logprobs": [
                        self._score(item.id, item.log_probability) for item in token.alternatives
                    ],
                }
                for token in tokens
            ]
        }

    def _scores(self, tokens: Sequence[Token]) -> dict[str, Any]:
        return {
            "tokens": [self._text(token.id) for token in tokens],
            "token_logprobs": [token.log_probability for token in tokens],
            "top_logprobs": [
                {self._text(item.id): item.log_probability for item in token.alternatives}
                for token in tokens
            ],
            "text_offset": [],
        }

    def _score(self, token: int, log_probability: float | None) -> dict[str, Any]:
        text = self._text(token)
        return {"token": text, "logprob": log_probability, "bytes": list(text.encode())}

    def _text(self, token: int) -> str:
        return self._tokenizer.decode([token])

    def _usage(self, generation: Generation) -> dict[str, Any]:
        prompt, answer = len(self._answer.request.ids), len(generation.token_ids)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": self._answer.reused},
        }

    def _body(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {**self._head, "object": self._kind, "choices": choices, **more}

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        body = self._body(choices, **more)
        if self._chat:
            body["object"] = "chat.completion.chunk"
        return event(body)


def event(body: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(body)}\n\n".encode()


def error_body(message: str, *, kind: str, param: str | None = None) -> dict[str, Any]:
    """What OpenAI's clients read of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}
