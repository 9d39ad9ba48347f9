"""The page at `/`, for people: what this server is, the two commands, and how many rooms there are.

It works without JavaScript and asks nobody else for anything. Its files lie beside this module; they are read once, and
browsers ask each time whether they are still the same (ETag, RFC 9110 8.8.3).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2s
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from p2ptun.server.refusal import Refusal

if TYPE_CHECKING:
    from p2ptun.server.rooms import Counts

HERE: Final = Path(__file__).parent
UNNAMED: Final = "URL"
"""What the commands name the server where it doesn't know its name and no script runs that does."""

SHARED_FOR: Final = 1.0
"""Seconds for which one look at the store answers everybody: many who watch cost no more than one."""

SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), clipboard-write=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

FILES: Final = {"page.css": "text/css", "page.js": "text/javascript", "page-icon.svg": "image/svg+xml"}

COUNTED: Final = {
    "numbered": "rooms open for a code",
    "named": "rooms of paired machines",
    "waiting": "waiting for the other side",
    "messages": "sealed messages carried",
}
"""What is counted, and how the page calls it."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What the page says that isn't in its files.

    Attributes:
        count: Counts what there is; may raise Refusal while the store is away.
        public_url: How others reach this server, as in `https://rv.example.net`; empty when it doesn't know.
        version: Of p2ptun.
    """

    count: Callable[[], Awaitable[Counts]]
    public_url: str
    version: str


def page_routes(facts: PageFacts) -> list[Route]:
    """Return what to serve the page with: `/`, its files, and `/counts` (JSON, by the names in `COUNTED`)."""
    figures = Figures(facts.count)
    template = _template(facts)

    async def page(request: Request) -> Response:
        try:
            known = await figures.look()
        except Refusal:
            known = {}
        text = template.substitute(counts=_described(known))
        return _checked(request, text.encode(), "text/html")

    async def counts(_: Request) -> Response:
        return JSONResponse(await figures.look(), headers={**SECURITY, "Cache-Control": "no-store"})

    return [Route("/", page), Route("/counts", counts), *(_file(name, kind) for name, kind in FILES.items())]


class Figures:
    """The counts, as often as anybody asks and no oftener counted than once in `SHARED_FOR` seconds."""

    def __init__(self, count: Callable[[], Awaitable[Counts]]) -> None:
        self._count = count
        self._lock = trio.Lock()
        self._good_until = -math.inf
        self._known: dict[str, int] = {}

    async def look(self) -> dict[str, int]:
        """Return them by the names in `COUNTED`. Raises Refusal when nobody can count just now."""
        async with self._lock:
            if trio.current_time() >= self._good_until:
                counts = await self._count()
                self._known = {name: getattr(counts, name) for name in COUNTED}
                self._good_until = trio.current_time() + SHARED_FOR
            return self._known


def _template(facts: PageFacts) -> Template:
    """Fill in all that stays the same."""
    filled = Template((HERE / "page.html").read_text("utf-8")).safe_substitute(
        meeting=(HERE / "page-meeting.svg").read_text("utf-8").rstrip(),
        url=_quoted(facts.public_url or UNNAMED),
        unnamed=" hidden" if facts.public_url else "",
        version=_quoted(facts.version),
    )
    return Template(filled)


def _quoted(text: str) -> str:
    """Escape a text for HTML, and for the template that it becomes part of."""
    return escape(text).replace("$", "$$")


def _described(known: dict[str, int]) -> str:
    rows = ((name, what, _grouped(known.get(name))) for name, what in COUNTED.items())
    return "\n".join(f'<div><dt>{what}</dt><dd data-count="{name}">{number}</dd></div>' for name, what, number in rows)


def _grouped(number: int | None) -> str:
    return "\u2013" if number is None else f"{number:,}".replace(",", "\u202f")  # a narrow space, as the script has it


def _file(name: str, kind: str) -> Route:
    content = (HERE / name).read_bytes()

    async def file(request: Request) -> Response:
        return _checked(request, content, kind)

    return Route(f"/{name}", file)


def _checked(request: Request, content: bytes, kind: str) -> Response:
    """Answer with the content, or say that it is what the browser has (RFC 9110 13.1.2)."""
    tag = f'"{blake2s(content, digest_size=12).hexdigest()}"'
    headers = {**SECURITY, "ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)
