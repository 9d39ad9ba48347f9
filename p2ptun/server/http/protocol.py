"""HTTP/1.1 as hypercorn speaks it, made stricter, and what runs the application once per request.

hypercorn's own server trusts its clients with time: nobody limits how long a request's head or an answer may take, and
an answer that comes before the whole body waits for it. So `Connection`, and the tasks here, drive its protocol.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import h11
import trio
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.worker_context import WorkerContext

from p2ptun.server.http.problem import MEDIA_TYPE, Problem, Slug

if TYPE_CHECKING:
    from hypercorn.config import Config
    from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, H11SendableEvent, HTTPScope

GONE_GRACE: Final = 1.0
"""Seconds that a request goes on for when its client sends no more. Some end their half of the connection early, and
still listen; a poll doesn't wait any longer for them."""

QUEUED_EVENTS: Final = 4
"""Pieces of a body, 64 KiB each at most, that are read ahead of the application."""

Put: TypeAlias = Callable[["ASGIReceiveEvent"], Awaitable[None]]
Send: TypeAlias = Callable[["ASGISendEvent | None"], Awaitable[None]]

logger = logging.getLogger(__name__)


class Http1(H11Protocol):
    """HTTP/1.1 and nothing else: who asks for another protocol is answered in this one (RFC 9110 7.8)."""

    _head = b""
    """The head of an answer, which leaves together with its body."""

    @property
    def is_cut_short(self) -> bool:
        """Tell whether there may be more of a request that nobody will read."""
        return self.connection.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    async def refuse(self, problem: Problem) -> None:
        """Answer what is no whole request, as far as an answer can be sent."""
        if self.stream is not None or self.connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = problem.encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=problem.slug.status, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _send_error_response(self, status_code: int) -> None:
        if status_code == Slug.HEAD_TOO_LARGE.status:
            detail, remedy = "The head of the request is too large.", "Send fewer headers, and a shorter path."
            await self.refuse(Problem(Slug.HEAD_TOO_LARGE, detail, remedy))
        else:
            await self.refuse(Problem(Slug.BAD_REQUEST, "This is no HTTP/1.1.", "Send requests as RFC 9112 has them."))

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self._head + (self.connection.send(event) or b"")
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        self._head = data if isinstance(event, h11.Response) else b""
        if data and not self._head:
            await self.send(RawData(data))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Leave requests for HTTP/2 alone, which hypercorn would grant."""

    async def _create_stream(self, request: h11.Request) -> None:
        if _is_ambiguous(request):
            await self._send_error_response(Slug.BAD_REQUEST.status)
            await self.send(Closed())
            return
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        if len(headers) < len(request.headers):
            request = h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        await super()._create_stream(request)


class Calls:
    """Runs the application for the requests of one connection: what hypercorn calls a task group."""

    def __init__(self, nursery: trio.Nursery, context: WorkerContext) -> None:
        self._nursery = nursery
        self._context = context

    async def spawn_app(self, app: AppWrapper, config: Config, scope: HTTPScope, send: Send) -> Put:
        """Begin to answer a request; return where to put what comes of it besides its head."""
        call = Call(scope, send, self._context)
        self._nursery.start_soon(call.run, app)
        return call.put


class Call:
    """One request on its way through the application."""

    def __init__(self, scope: HTTPScope, send: Send, context: WorkerContext) -> None:
        self._scope = scope
        self._reply = send
        self._context = context
        self._put, self._get = trio.open_memory_channel[Any](QUEUED_EVENTS)
        self._is_whole = False
        self._is_answered = False
        self._cancel = trio.CancelScope()

    async def run(self, app: AppWrapper) -> None:
        """Have it answered. What the application raises is our fault, logged, and answered with 500."""
        try:
            with self._cancel:
                await app(self._scope, self._get.receive, self._send, _no_thread, _no_thread)
        except Exception:
            logger.exception("a request failed")
        finally:
            self._get.close()
        await self._reply(None)

    async def put(self, event: ASGIReceiveEvent) -> None:
        """Take a piece of the body, or the news that the client is gone. What nobody reads any more is dropped."""
        if event["type"] == "http.disconnect":
            if not self._is_answered:
                self._cancel.deadline = trio.current_time() + GONE_GRACE
            return
        self._is_whole = self._is_whole or (event["type"] == "http.request" and not event["more_body"])
        with suppress(trio.BrokenResourceError):
            await self._put.send(event)

    async def _send(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start" and (not self._is_whole or self._context.terminated.is_set()):
            event["headers"] = [*event["headers"], (b"connection", b"close")]
        elif event["type"] == "http.response.body" and not event.get("more_body", False):
            self._is_answered = True
            self._get.close()
        await self._reply(event)


def _is_ambiguous(request: h11.Request) -> bool:
    """Tell whether a proxy may see the request end elsewhere than we do, and take the rest for another client's.

    Those are requests with two lengths, and old ones in chunks (RFC 9112 6.1, 11.2). No client of ours sends any.
    """
    names = {name for name, _ in request.headers}
    is_chunked = b"transfer-encoding" in names
    return is_chunked and (b"content-length" in names or request.http_version < b"1.1")


async def _no_thread(*_: object) -> None:
    raise AssertionError("only WSGI needs threads")  # pragma: no cover
