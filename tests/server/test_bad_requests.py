"""Broken requests over the wire: refused with a reason, and the server goes on."""

import json
import random
import socket
import urllib.error
import urllib.request

import openai
import pytest

from tests.fuzz.mutate import mutated_bytes, mutated_json

pytestmark = pytest.mark.serial

WHOLE = {
    "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, "stop": ["x"], "seed": 1,
    "logit_bias": {"5": 1}, "logprobs": True, "top_logprobs": 2, "stream": False,
}  # fmt: skip


def post(address: str, body: bytes) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_mutated_bodies(address: str, client: openai.OpenAI, model: str) -> None:
    refused = 0
    for seed in range(200):
        chance = random.Random(seed)
        body = json.dumps(mutated_json(WHOLE, chance)).encode()
        if seed % 2:
            body = mutated_bytes(json.dumps(WHOLE).encode(), chance)
        status, text = post(address, body)
        assert status in (200, 400, 404), (seed, status, text)
        if status != 200:
            refused += 1
            assert json.loads(text)["error"]["message"], seed
    assert refused > 50
    assert client.models.list().data[0].id == model


LINES = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"


def test_bytes_that_are_no_http(address: str, client: openai.OpenAI, model: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    for seed in range(50):
        chance = random.Random(seed)
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(mutated_bytes(LINES, chance))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    assert client.models.list().data[0].id == model


def test_paths_lead_nowhere(address: str) -> None:
    for path in ("/../manifest.json", "/%2e%2e/etc/passwd", "/v1/models/..%2f..%2fx", "/static"):
        try:
            with urllib.request.urlopen(address + path) as reply:
                raise AssertionError(f"{path}: {reply.status}")
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == 404
                assert "error" in json.loads(error.read())
