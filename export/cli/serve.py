"""Runs `serve`: a local server that speaks OpenAI's protocol."""

import socket
from contextlib import suppress
from typing import Annotated

import typer

from tinyaya.export.cli.options import BundleSource, EngineName, Threads, find_shown
from tinyaya.export.errors import MissingExtraError
from tinyaya.runtime.errors import OptionError

_SHUTDOWN_TIMEOUT_S = 3


def serve(
    bundle: BundleSource,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8080,
    allow_host: Annotated[
        list[str], typer.Option(metavar="NAME", help="Another name it is called by; may repeat.")
    ] = [],  # noqa: B006  typer copies it
    waiting: Annotated[int, typer.Option(help="Requests that may wait.")] = 64,
    max_tokens: Annotated[int, typer.Option(help="Of one answer at most.")] = 4096,
    threads: Threads = None,
    engine: EngineName = None,
) -> None:
    """Answer OpenAI's clients, and people at a chat page, with the bundle in DIR.

    Example: tinyaya-export serve aya/onnx --port 8080
    """
    try:
        import uvicorn

        from tinyaya.runtime.server.app import ServeOptions, make_app
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"serve needs the package {error.name}; pip install 'tinyaya-export[serve]'"
        ) from error
    from tinyaya.runtime import open_bundle

    listening = _listening(host, port)  # before anything is loaded
    options = ServeOptions(
        waiting=waiting,
        most_tokens=max_tokens,
        threads=threads,
        engine=engine,
        hosts=("localhost", "127.0.0.1", "[::1]", host, *allow_host),
    )
    app = make_app(open_bundle(find_shown(bundle)), options)
    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_S, lifespan="on"
    )
    with listening, suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        name = f"[{host}]" if ":" in host else host
        print(f"http://{name}:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket at the address; raises OptionError where there is none to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"cannot listen at {host}:{port} ({error}); choose another --host or --port"
        ) from error
