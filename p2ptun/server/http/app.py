"""The application: every request passes the gate, finds its call, and gets an answer or a problem."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from p2ptun.server.http.api import CLIENT, Api, Handler
from p2ptun.server.http.problem import MEDIA_TYPE, Problem, Slug, not_found, of_refusal
from p2ptun.server.refusal import Kind, Refusal

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from p2ptun.server.http.client import ClientFinder
    from p2ptun.server.http.guard import Guard
    from p2ptun.server.http.metrics import Metrics

MAX_PATH: Final = 256
HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""What every answer says that doesn't say otherwise. Answers hold tokens and messages: nobody keeps them."""

GONE: Final = "gone"
"""What stands for a status when the client left before the answer."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})

_TARGET: Final = re.compile(rb"(?:https?://[^/?#]*)?(/[A-Za-z0-9._~/-]*)", re.ASCII | re.IGNORECASE)  # RFC 9112 3.2
_DOTS: Final = re.compile(rb"/(?:\.{0,2}/|\.{1,2}$)")

logger = logging.getLogger(__name__)


class Calls:
    """All calls at one path, as a starlette route takes them: without layers between, of which each poll would pay."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = {**handlers, "HEAD": handlers["GET"]} if "GET" in handlers else dict(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem and Refusal."""
        handler = self._handlers.get(scope["method"])
        if handler is None:
            raise _not_allowed(self._handlers)
        answer = await handler(Request(scope, receive, send))
        await answer(scope, receive, send)


class Application:
    """What hypercorn calls."""

    def __init__(self, api: Api, pages: Sequence[Route], finder: ClientFinder, guard: Guard, metrics: Metrics) -> None:
        routes = [Route(path, Calls(handlers)) for path, handlers in api.table().items()]
        routes += pages
        self._api = api
        self._finder = finder
        self._guard = guard
        self._metrics = metrics
        self._templates = {route.endpoint: route.path for route in routes}
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_defaults(message["headers"])
            await send(message)

        try:
            try:
                self._admit(scope)
                await self._router(scope, receive, watch)
            except Exception as error:
                if status:
                    raise  # it is too late for another answer
                await self._refuse(self._problem(scope, error))(scope, receive, watch)
        finally:
            template = self._templates.get(scope.get("endpoint", self), "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(method, template, str(status or GONE)).inc()

    def _admit(self, scope: Scope) -> None:
        """Let in who doesn't ask too often, for a path that may be ours.

        Those need no escapes: what has some is none of them, however it is read.
        """
        scope["app"] = self  # starlette: raise what goes wrong
        scope[CLIENT] = client = self._finder.find(ip_address(scope["client"][0]), scope["headers"])
        self._guard.admit_request(client)
        match = _TARGET.fullmatch(scope["raw_path"])
        if match is None or len(match[1]) > MAX_PATH or _DOTS.search(match[1]):
            raise not_found()
        scope["path"] = match[1].decode("ascii")

    def _refuse(self, problem: Problem) -> Response:
        self._metrics.refuse(problem.slug)
        return Response(problem.encode(), problem.slug.status, problem.headers, MEDIA_TYPE)

    def _problem(self, scope: Scope, error: Exception) -> Problem:
        match error:
            case Problem():
                return error
            case Refusal(kind=kind):
                if kind in (Kind.UNKNOWN, Kind.BURNT) and "room" in scope.get("path_params", {}):
                    self._api.forget(scope["path_params"]["room"])
                return of_refusal(error)
            case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
                return _not_allowed(("GET", "HEAD"))  # the page's
            case HTTPException():
                return not_found()
            case _:
                logger.error("a request failed", exc_info=error)
                return Problem(Slug.INTERNAL, "The server made a mistake.", "Try again; tell whoever runs it.")


def _not_allowed(methods: Iterable[str]) -> Problem:
    allowed = ", ".join(sorted(methods))
    detail = "This path doesn't take that method."
    return Problem(Slug.METHOD_NOT_ALLOWED, detail, f"It takes {allowed}.", {"Allow": allowed})


def _with_defaults(headers: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    present = {name.lower() for name, _ in headers}
    return [*headers, *(each for each in HEADERS if each[0] not in present)]
