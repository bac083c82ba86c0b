"""Makes the ASGI application of a bundle: OpenAI's protocol and a chat page."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tinyaya.runtime.bundle import Bundle
from tinyaya.runtime.errors import OptionError, TinyAyaError
from tinyaya.runtime.generate import Generation, Token
from tinyaya.runtime.server.bodies import Bodies, error_body, event
from tinyaya.runtime.server.requests import Request, RequestError, RequestReader
from tinyaya.runtime.server.worker import Answer, Worker

_T = TypeVar("_T")

_PAGE_FILE = "page.html"
_PAGE_HEADERS = {  # the page loads nothing from elsewhere, and is shown in no frame
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Limits of the server.

    waiting: requests that may wait while one is answered. most_tokens: of one answer.
    body_bytes: of one request; it has to arrive within body_s seconds. hosts: names by which
    browsers may call it, so that no page from elsewhere can. threads: of arithmetic; None leaves
    the choice to the engine. engine: as of `Bundle.session`. Raises OptionError.
    """

    waiting: int = 64
    most_tokens: int = 4096
    body_bytes: int = 1 << 20
    body_s: float = 30.0
    hosts: tuple[str, ...] = field(default=("localhost", "127.0.0.1", "[::1]"))
    threads: int | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        for name in ("waiting", "most_tokens", "body_bytes"):
            if (value := getattr(self, name)) < 1:
                raise OptionError(f"{name} is {value}; expected at least 1")


def make_app(bundle: Bundle, options: ServeOptions) -> Starlette:
    """Load the bundle's program and make the application that answers with it."""
    return _Server(bundle, options).app


class _Server:
    def __init__(self, bundle: Bundle, options: ServeOptions) -> None:
        self._options, self._tokenizer = options, bundle.tokenizer
        self._name = bundle.folder.resolve().name
        self._reader = RequestReader(bundle, self._name, options.most_tokens)
        session = bundle.session(threads=options.threads, engine=options.engine)
        self._worker = Worker(bundle, session, options.waiting)
        self._page = (files("tinyaya.runtime.server") / _PAGE_FILE).read_text("utf-8")
        self.app = Starlette(
            routes=[
                Route("/", self._show_page),
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/models/{name}", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._text, methods=["POST"]),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(options.hosts))],
            exception_handlers={
                TinyAyaError: _refused,
                404: _not_found,
                405: _not_found,
                Exception: _failed,
            },
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._worker.start()
        yield
        await asyncio.to_thread(self._worker.stop)

    async def _show_page(self, http: HttpRequest) -> Response:
        return HTMLResponse(self._page, headers=_PAGE_HEADERS)

    async def _health(self, http: HttpRequest) -> Response:
        waiting, busy = self._worker.load
        return JSONResponse({"status": "ok", "waiting": waiting, "busy": busy})

    async def _models(self, http: HttpRequest) -> Response:
        model = {"id": self._name, "object": "model", "created": 0, "owned_by": "local"}
        asked = http.path_params.get("name")
        if asked is None:
            return JSONResponse({"object": "list", "data": [model]})
        if asked != self._name:
            raise RequestError(f"there is no model {asked[:80]!r}; known: {self._name}", status=404)
        return JSONResponse(model)

    async def _chat(self, http: HttpRequest) -> Response:
        return await self._complete(http, self._reader.chat)

    async def _text(self, http: HttpRequest) -> Response:
        return await self._complete(http, self._reader.text)

    async def _complete(self, http: HttpRequest, read: Callable[[bytes], Request]) -> Response:
        body = await self._body(http)
        answer = self._worker.submit(await asyncio.to_thread(read, body))
        bodies = Bodies(answer, self._name, self._tokenizer)
        if answer.request.stream:
            return await self._streamed(http, answer, bodies)
        return await self._whole(http, answer, bodies)

    async def _body(self, http: HttpRequest) -> bytes:
        """The body, in time and not too long; JSON alone, which no form of a web page can send."""
        if http.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestError("the body is not called application/json", status=415)
        body = bytearray()
        try:
            async with asyncio.timeout(self._options.body_s):
                async for part in http.stream():
                    body += part
                    if len(body) > self._options.body_bytes:
                        raise RequestError(
                            f"the body has more than {self._options.body_bytes} bytes", status=413
                        )
        except TimeoutError:
            raise RequestError("the body did not arrive in time", status=408) from None
        except ClientDisconnect:
            raise RequestError("the client left", status=499) from None
        return bytes(body)

    async def _whole(self, http: HttpRequest, answer: Answer, bodies: Bodies) -> Response:
        try:
            gathered = await _unless_left(http, _gather(answer))
        finally:
            answer.cancel()
        return JSONResponse(bodies.whole(*gathered))

    async def _streamed(self, http: HttpRequest, answer: Answer, bodies: Bodies) -> Response:
        """Begin the stream once there is something, so that refusals have their own status."""
        items = answer.items()
        try:
            first = await _unless_left(http, _next(items))
        except BaseException:
            answer.cancel()
            raise
        return _AnswerStream(answer, _events(bodies, first, items))


class _AnswerStream(StreamingResponse):
    """Cancels its answer when it ends, however it ends."""

    def __init__(self, answer: Answer, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(
            pieces, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.cancel()


async def _unless_left(http: HttpRequest, work: Coroutine[Any, Any, _T]) -> _T:
    """What `work` gives; raises RequestError where the client leaves before that."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(http))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise RequestError("the client left", status=499)
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _next(items: AsyncIterator[Token | Generation]) -> Token | Generation:
    return await anext(items)


async def _events(
    bodies: Bodies, first: Token | Generation, items: AsyncIterator[Token | Generation]
) -> AsyncIterator[bytes]:
    try:
        for piece in bodies.opening():
            yield piece
        item: Token | Generation | None = first
        while isinstance(item, Token):
            yield bodies.piece(item)
            item = await anext(items)
        assert isinstance(item, Generation)
        for piece in bodies.closing(item):
            yield piece
    except TinyAyaError as error:
        yield event(error_body(str(error), kind=type(error).__name__))


async def _gather(answer: Answer) -> tuple[list[Token], Generation]:
    tokens: list[Token] = []
    async for item in answer.items():
        if isinstance(item, Generation):
            return tokens, item
        tokens.append(item)
    raise AssertionError("an answer ends with its Generation")


async def _left(http: HttpRequest) -> None:
    """Return when the client has left."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _refused(http: HttpRequest, error: Exception) -> Response:
    status = error.status if isinstance(error, RequestError) else 400
    param = error.param if isinstance(error, RequestError) else None
    body = error_body(str(error), kind="invalid_request_error", param=param)
    return JSONResponse(body, status_code=status)


async def _not_found(http: HttpRequest, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    message = "there is nothing here; known: /v1/chat/completions, /v1/completions, /v1/models"
    return JSONResponse(error_body(message, kind="invalid_request_error"), status_code=status)


async def _failed(http: HttpRequest, error: Exception) -> Response:
    body = error_body("the server failed; its terminal says why", kind="server_error")
    return JSONResponse(body, status_code=500)
