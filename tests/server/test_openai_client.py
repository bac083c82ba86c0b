"""What OpenAI's own client asks for, it gets."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request

import openai
import pytest

from tinyaya.benchmarks.server_load import load_server

pytestmark = pytest.mark.serial

ASK = [{"role": "user", "content": "Say something."}]


def health(address: str) -> dict:
    with urllib.request.urlopen(f"{address}/health") as reply:
        return json.load(reply)


def wait_idle(address: str, within_s: float = 5) -> None:
    end = time.monotonic() + within_s
    while (state := health(address))["busy"] or state["waiting"]:
        assert time.monotonic() < end, state
        time.sleep(0.02)


def test_chat(client: openai.OpenAI, model: str) -> None:
    found = client.chat.completions.create(model=model, messages=ASK, max_tokens=12, seed=1)
    assert found.choices[0].message.role == "assistant"
    assert found.choices[0].message.content
    assert found.choices[0].finish_reason in ("length", "stop")
    assert found.usage is not None and found.usage.completion_tokens <= 12
    assert found.model == model


def test_a_stream_is_the_whole_in_pieces(client: openai.OpenAI, model: str) -> None:
    options = {"model": model, "messages": ASK, "max_tokens": 12, "temperature": 0}
    client.chat.completions.create(**options)  # so that both begin with the same caches
    whole = client.chat.completions.create(**options)
    usage_wanted = {"include_usage": True}
    events = list(
        client.chat.completions.create(**options, stream=True, stream_options=usage_wanted)
    )
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == whole.choices[0].message.content
    assert events[-1].usage.total_tokens == whole.usage.total_tokens
    assert events[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_the_same_seed_says_the_same(client: openai.OpenAI, model: str) -> None:
    def ask(seed: int) -> str:
        found = client.chat.completions.create(
            model=model, messages=ASK, max_tokens=20, temperature=1.0, seed=seed
        )
        return found.choices[0].message.content

    ask(1)
    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(5)}) > 1


def test_a_conversation_is_not_fed_again(client: openai.OpenAI, model: str) -> None:
    first = client.chat.completions.create(model=model, messages=ASK, max_tokens=8)
    more = [*ASK, {"role": "assistant", "content": first.choices[0].message.content},
            {"role": "user", "content": "More."}]  # fmt: skip
    second = client.chat.completions.create(model=model, messages=more, max_tokens=8)
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 1


def test_completions_with_logprobs(client: openai.OpenAI, model: str) -> None:
    found = client.completions.create(model=model, prompt="All human", max_tokens=5, logprobs=3)
    scores = found.choices[0].logprobs
    assert len(scores.tokens) == len(scores.token_logprobs) == found.usage.completion_tokens
    assert all(value <= 0 for value in scores.token_logprobs)
    assert all(1 <= len(row) <= 3 for row in scores.top_logprobs)


def test_stop_strings(client: openai.OpenAI, model: str) -> None:
    found = client.chat.completions.create(
        model=model, messages=ASK, max_tokens=60, stop=["X7"],
        extra_body={"regex": "[a-z]{5} X77[a-z]{30}"},
    )  # fmt: skip
    assert found.choices[0].finish_reason == "stop"
    assert len(found.choices[0].message.content) == 6


def test_json_schema(client: openai.OpenAI, model: str) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    for seed in range(3):
        found = client.chat.completions.create(
            model=model, messages=ASK, max_tokens=200, response_format=form, seed=seed,
            temperature=1.0, extra_body={"min_p": 0.05},
        )  # fmt: skip
        person = json.loads(found.choices[0].message.content)
        assert set(person) == {"name", "age"} and type(person["age"]) is int


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "other"}, "no model 'other'"),
        ({"n": 2}, "n is not 1"),
        ({"temperature": -1}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 20000}]}, "tokens"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "not understood"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "'tools' is not supported"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"extra_body": {"regex": "("}}, "regular expression"),
        ({"extra_body": {"nonsense": 1}}, "'nonsense' is not supported"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_named(
    client: openai.OpenAI, model: str, options: dict, words: str, stream: bool
) -> None:
    asked = {"model": model, "messages": ASK, "max_tokens": 4, "stream": stream} | options
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=words):
        client.chat.completions.create(**asked)


def test_a_client_that_leaves_ends_its_answer(
    client: openai.OpenAI, model: str, address: str
) -> None:
    long = {"regex": "[a-z ]{4000}"}
    with client.chat.completions.create(
        model=model, messages=ASK, max_tokens=800, stream=True, extra_body=long
    ) as stream:
        next(iter(stream))
        assert health(address)["busy"]
    started = time.monotonic()
    wait_idle(address)
    assert time.monotonic() - started < 0.5


def test_clients_that_leave_before_their_answers_end_them(model: str, address: str) -> None:
    """One is answered without a stream, three wait likewise, four wait for a stream."""

    async def ask_and_leave() -> list[asyncio.Task]:
        async with openai.AsyncOpenAI(
            base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=60
        ) as client:
            asked: list[asyncio.Task] = []
            for stream, waiting in ((False, 3), (True, 7)):
                answers = (
                    client.chat.completions.create(
                        model=model, messages=ASK, max_tokens=800, stream=stream,
                        extra_body={"regex": "[a-z ]{4000}"},
                    ) for _ in range(4)
                )  # fmt: skip
                asked += map(asyncio.ensure_future, answers)
                while (await asyncio.to_thread(health, address))["waiting"] < waiting:
                    assert not any(task.done() for task in asked)
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
            return asked

    assert all(task.cancelled() for task in asyncio.run(ask_and_leave()))
    wait_idle(address, 3)  # all eight would take longer


def test_too_many_are_refused_at_once(client: openai.OpenAI, model: str, address: str) -> None:
    seen: list[str] = []

    def ask() -> None:
        try:
            client.chat.completions.create(
                model=model, messages=ASK, max_tokens=200, extra_body={"regex": "[a-z ]{150}"}
            )
            seen.append("answered")
        except openai.RateLimitError as error:
            assert "wait already" in str(error)
            seen.append("refused")

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 60
    assert seen.count("answered") >= 40
    assert seen.count("refused") > 0
    wait_idle(address)


def test_32_clients_at_once(address: str, pid: int) -> None:
    found = load_server(address, pid, 32, 8)
    assert found.ok, found.outcomes
    assert found.outcomes["answered"] > 32
    assert found.outcomes["left"] > 0
    wait_idle(address)


def test_other_hosts_pages_cannot_call(address: str) -> None:
    for headers, status in (({"Host": "evil.example"}, 400), ({"Content-Type": "text/plain"}, 415)):
        request = urllib.request.Request(
            f"{address}/v1/chat/completions", data=b"{}", headers=headers
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == status
        refused.value.close()


def test_a_body_that_is_too_long(address: str) -> None:
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", data=b" " * (2 << 20),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError)) as refused:
        urllib.request.urlopen(request)
    assert getattr(refused.value, "code", 413) == 413
    if isinstance(refused.value, urllib.error.HTTPError):
        refused.value.close()
