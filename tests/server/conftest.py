"""A real server of the small bundle, in a process of its own."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import openai
import pytest

from tinyaya.benchmarks.server_load import start_server, stop_server

_PROCESSES: dict[str, subprocess.Popen] = {}


@pytest.fixture(scope="session")
def address(bundles: Mapping[str, Path]) -> Iterator[str]:
    """Where it listens."""
    server, address = start_server(bundles["onnx"], "--threads", "1", "--waiting", "40")
    _PROCESSES[address] = server
    yield address
    assert stop_server(server) == 0


@pytest.fixture(scope="session")
def pid(address: str) -> int:
    """The server's process."""
    return _PROCESSES[address].pid


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[openai.OpenAI]:
    """The real client."""
    with openai.OpenAI(
        base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=60
    ) as client:
        yield client


@pytest.fixture(scope="session")
def model(client: openai.OpenAI) -> str:
    """The one model's name."""
    (found,) = client.models.list().data
    return found.id
