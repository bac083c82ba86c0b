"""Loads a server with many clients at once, and checks what they got and how its memory went.

python -m tinyaya.benchmarks.server_load DIR --clients 32 --seconds 300

Every request asks for an answer with its own number in it, so mixed-up answers are found. Some
clients leave in the middle of a stream, some before it begins. Needs `openai`.
"""

import json
import os
import random
import re
import signal
import subprocess
import sysconfig
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import openai
import typer
from openai.types.chat import ChatCompletionMessageParam

_LEAVING_SHARE, _STREAMED_SHARE = 0.2, 0.5  # shares of the requests
_WARM_UP_SHARE = 0.2  # of the time, until memory is judged


@dataclass(kw_only=True)
class Load:
    """Outcomes by name, and the server's resident memory in kB over time."""

    outcomes: Counter[str] = field(default_factory=Counter)
    resident_kb: list[int] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Resident memory of the last fifth of the time to the first, once warm; medians."""
        warm = self.resident_kb[int(len(self.resident_kb) * _WARM_UP_SHARE) :]
        part = max(1, len(warm) // 5)
        return median(warm[-part:]) / median(warm[:part])

    @property
    def ok(self) -> bool:
        """Whether all were answered or left by themselves."""
        return set(self.outcomes) <= {"answered", "left"} and self.outcomes["answered"] > 0


def start_server(bundle: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start `tinyaya-export serve` at a free port; its process and address."""
    program = Path(sysconfig.get_path("scripts")) / "tinyaya-export"
    command = [str(program), "serve", str(bundle), "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def stop_server(server: subprocess.Popen[str]) -> int:
    """Ask it to end, as Ctrl-C does; its exit status."""
    server.send_signal(signal.SIGINT)
    return server.wait(timeout=60)


def load_server(address: str, pid: int, clients: int, seconds: float) -> Load:
    """Have `clients` ask again and again for `seconds`."""
    found, end = Load(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=_ask_until, args=(address, number, end, found.outcomes))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found.resident_kb.append(_resident_kb(pid))
        time.sleep(0.5)
    return found


def _ask_until(address: str, number: int, end: float, outcomes: Counter[str]) -> None:
    chance = random.Random(number)
    with openai.OpenAI(
        base_url=f"{address}/v1", api_key="none", timeout=120, max_retries=0
    ) as client:
        count = 0
        while time.monotonic() < end:
            count += 1
            try:
                outcomes[_ask(client, f"{number}-{count}", chance)] += 1
            except openai.APIError as error:
                outcomes[f"{type(error).__name__}: {error}"[:120]] += 1


def _ask(client: openai.OpenAI, name: str, chance: random.Random) -> str:
    form = {"regex": f"{name}: [a-z ]{{20,60}}[.]"}
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": f"I am client {name}."}
    ]
    model = client.models.list().data[0].id
    leaving = chance.random() < _LEAVING_SHARE
    if not leaving and chance.random() > _STREAMED_SHARE:
        whole = client.chat.completions.create(
            model=model,
            messages=messages,
            max_tokens=100,
            extra_body=form,
        )
        return _judged(whole.choices[0].message.content or "", name)
    text, wanted = "", chance.randrange(8)
    with client.chat.completions.create(
        model=model,
        messages=messages,
        max_tokens=100,
        stream=True,
        extra_body=form,
    ) as stream:
        for index, event in enumerate(stream):
            text += event.choices[0].delta.content or ""
            if leaving and index >= wanted:
                return "left" if f"{name}: ".startswith(text[: len(name) + 2]) else "mixed up"
    return _judged(text, name)


def _judged(text: str, name: str) -> str:
    return "answered" if re.fullmatch(rf"{name}: [a-z ]{{20,60}}[.]", text) else f"mixed up: {text}"


def _resident_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found is not None
    return int(found[1])


def main(
    bundle: Path,
    clients: Annotated[int, typer.Option()] = 32,
    seconds: Annotated[float, typer.Option()] = 300.0,
) -> None:
    """Load a server with clients and print what became of them."""
    server, address = start_server(bundle, "--threads", str(max(1, (os.cpu_count() or 2) // 2)))
    try:
        found = load_server(address, server.pid, clients, seconds)
    finally:
        status = stop_server(server)
    summary = {"outcomes": dict(found.outcomes), "growth": found.growth, "status": status}
    print(json.dumps(summary | {"ok": found.ok, "resident_kb": found.resident_kb[::20]}))
    raise typer.Exit(0 if found.ok and found.growth <= 1.05 else 1)


if __name__ == "__main__":
    typer.run(main)
