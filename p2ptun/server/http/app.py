"""The application: every request passes the gate, finds its call, and gets an answer or a problem."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from p2ptun.server.http.api import CLIENT, Api, Handler
from p2ptun.server.http.problem import MEDIA_TYPE, Problem, Slug, not_found, of_refusal
from p2ptun.server.refusal import Kind, Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


class Application:
    """What hypercorn calls."""

    def __init__(self, api: Api, pages: Sequence[Route], finder: ClientFinder, guard: Guard, metrics: Metrics) -> None:
        routes = [_route(path, handlers) for path, handlers in api.table().items()]
        routes += pages
        self._api = api
        self._finder = finder
        self._guard = guard
        self._metrics = metrics
        self._templates = {route.endpoint: route.path for route in routes}
        self._inner = self._build(routes)

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
            await self._enter(scope)(scope, receive, watch)
        finally:
            template = self._templates.get(scope.get("endpoint", _route), "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(method, template, str(status or GONE)).inc()

    def _enter(self, scope: Scope) -> ASGIApp:
        """Decide who answers. Paths of ours need no escapes: what has some is none of them, however it is read."""
        scope[CLIENT] = client = self._finder.find(ip_address(scope["client"][0]), scope["headers"])
        try:
            self._guard.admit_request(client)
            match = _TARGET.fullmatch(scope["raw_path"])
            if match is None or len(match[1]) > MAX_PATH or _DOTS.search(match[1]):
                raise not_found()
        except Problem as problem:
            return self._refuse(problem)
        scope["path"] = match[1].decode("ascii")
        return self._inner

    def _build(self, routes: list[Route]) -> Starlette:
        async def refused(request: Request, error: Exception) -> Response:
            return self._refuse(self._problem(request, error))

        kinds = (Problem, Refusal, HTTPException, Exception)
        inner = Starlette(routes=routes, exception_handlers=dict.fromkeys(kinds, refused))
        inner.router.redirect_slashes = False
        return inner

    def _refuse(self, problem: Problem) -> Response:
        self._metrics.refuse(problem.slug)
        return Response(problem.encode(), problem.slug.status, problem.headers, MEDIA_TYPE)

    def _problem(self, request: Request, error: Exception) -> Problem:
        match error:
            case Problem():
                return error
            case Refusal(kind=kind):
                if kind in (Kind.UNKNOWN, Kind.BURNT) and "room" in request.path_params:
                    self._api.forget(request.path_params["room"])
                return of_refusal(error)
            case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers=headers):
                return _not_allowed(headers or {})
            case HTTPException():
                return not_found()
            case _:  # the traceback is in the log
                return Problem(Slug.INTERNAL, "The server made a mistake.", "Try again; tell whoever runs it.")


def _route(path: str, handlers: Mapping[str, Handler]) -> Route:
    """Make one route of all calls at a path, so that it knows all the methods there."""
    by_method = {**handlers, "HEAD": handlers["GET"]} if "GET" in handlers else handlers

    async def endpoint(request: Request) -> Response:
        return await by_method[request.method](request)

    return Route(path, endpoint, methods=list(handlers))


def _not_allowed(headers: Mapping[str, str]) -> Problem:
    allowed = ", ".join(sorted(headers.get("Allow", "").split(", ")))
    detail = "This path doesn't take that method."
    return Problem(Slug.METHOD_NOT_ALLOWED, detail, f"It takes {allowed}.", {"Allow": allowed})


def _with_defaults(headers: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    present = {name.lower() for name, _ in headers}
    return [*headers, *(each for each in HEADERS if each[0] not in present)]
