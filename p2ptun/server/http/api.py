"""What each call does. Rules of rooms are `server.rooms`'; here they meet HTTP."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from p2ptun.server.http.body import after, bearer, read_message, read_nothing, reason, wait
from p2ptun.server.http.ice import IceDocument, IceOffer
from p2ptun.server.http.openapi import describe
from p2ptun.server.http.problem import Problem, Slug
from p2ptun.server.refusal import Kind, Refusal

if TYPE_CHECKING:
    from p2ptun.server.http.guard import Guard
    from p2ptun.server.http.metrics import Metrics
    from p2ptun.server.rooms import Entry, Joined, Rooms
    from p2ptun.types import IPAddress

CLIENT: Final = "p2ptun.client"
"""Where a request's scope holds the client's address."""

MISSES: Final = frozenset({Kind.UNKNOWN, Kind.CROWDED, Kind.BURNT})
"""How whoever tries one number after the other is refused."""

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class EntryDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a mailbox: a message (base64) or a notice."""

    sequence: int
    body: bytes | None = None
    notice: str | None = None


class SeatDocument(msgspec.Struct, frozen=True):
    """What who opens a room is told."""

    room: str
    side_token: str
    ttl: int
    ice: IceDocument

    def __repr__(self) -> str:
        return f"{type(self).__name__}(room={self.room!r})"


class JoinedDocument(SeatDocument, frozen=True):
    """What who joins or enters one is told."""

    messages: list[EntryDocument]


class MessagesDocument(msgspec.Struct, frozen=True):
    """What came."""

    messages: list[EntryDocument]


class SequenceDocument(msgspec.Struct, frozen=True):
    """Which number a message got."""

    sequence: int


class HealthDocument(msgspec.Struct, frozen=True):
    """All is well."""

    status: str = "ok"


class Api:
    """The calls. They raise Problem and Refusal."""

    def __init__(self, rooms: Rooms, offer: IceOffer, guard: Guard, metrics: Metrics) -> None:
        self._rooms = rooms
        self._offer = offer
        self._guard = guard
        self._metrics = metrics
        self._description = describe()

    def table(self) -> dict[str, dict[str, Handler]]:
        """List the calls by path and method."""
        return {
            "/v1/rooms": {"POST": self.open},
            "/v1/rooms/{room}": {"DELETE": self.burn},
            "/v1/rooms/{room}/sides": {"POST": self.join, "PUT": self.enter},
            "/v1/rooms/{room}/messages": {"GET": self.read, "POST": self.post},
            "/v1/ice": {"GET": self.ice},
            "/healthz": {"GET": self.health},
            "/metrics": {"GET": self.expose},
            "/openapi.json": {"GET": self.describe},
        }

    async def open(self, request: Request) -> Response:
        """Open a numbered room."""
        await read_nothing(request)
        client = client_of(request)
        self._guard.admit_entry(client)
        with self._guard.tenant(client) as begin:
            seat = await self._rooms.open()
            begin(seat.room, seat.ttl)
        self._metrics.rooms_opened.inc()
        return answer(SeatDocument(seat.room, seat.token, int(seat.ttl), self._offer.make(seat.token)), 201)

    async def join(self, request: Request) -> Response:
        """Join one as its second side, with the first message."""
        room = _numbered(request)
        message = await read_message(request, is_optional=True)
        client = client_of(request)
        self._guard.admit_entry(client)
        try:
            joined = await self._rooms.join(room, message, own_token(request))
        except Refusal as refusal:
            if refusal.kind in MISSES:
                self._guard.note_miss(client)
            raise
        self._metrics.joins.labels("numbered").inc()
        return self._joined(joined, message, 201)

    async def enter(self, request: Request) -> Response:
        """Enter a named room, with the first message."""
        room, token = _named(request), bearer(request)
        message = await read_message(request, is_optional=True)
        client = client_of(request)
        self._guard.admit_entry(client)
        with self._guard.tenant(client, room) as begin:
            joined = await self._rooms.enter(room, token, message)
            begin(room, joined.seat.ttl)
        self._metrics.joins.labels("named").inc()
        return self._joined(joined, message, 200)

    async def post(self, request: Request) -> Response:
        """Leave a message."""
        room, token = _any(request), bearer(request)
        message = await read_message(request, is_optional=False)
        sequence = await self._rooms.post(token, room, message)
        self._guard.prolong(room, self._rooms.limits.ttl)
        self._metrics.carry(message)
        return answer(SequenceDocument(sequence), 201)

    async def read(self, request: Request) -> Response:
        """Return what lies in this side's mailbox, or wait for it."""
        room, token = _any(request), bearer(request)
        entries = await self._rooms.read(token, room, after(request), wait(request))
        self._guard.prolong(room, self._rooms.limits.ttl)
        return answer(MessagesDocument(_entries(entries)))

    async def burn(self, request: Request) -> Response:
        """End a room."""
        room, token, why = _any(request), bearer(request), reason(request)
        await self._rooms.burn(token, room, why)
        self._guard.end(room)
        self._metrics.burns.labels(why.value).inc()
        return Response(status_code=204)

    async def ice(self, request: Request) -> Response:
        """Tell a side of STUN and TURN servers, with fresh credentials."""
        token = bearer(request)
        await self._rooms.check(token)
        return answer(self._offer.make(token))

    async def health(self, _: Request) -> Response:
        """Tell whether the store can be reached."""
        await self._rooms.count()
        return answer(HealthDocument())

    async def expose(self, _: Request) -> Response:
        """Tell Prometheus."""
        try:
            counts = await self._rooms.count()
        except Refusal:
            counts = None
        text, media_type = self._metrics.write(counts)
        return Response(text, media_type=media_type)

    async def describe(self, _: Request) -> Response:
        """Tell what there is."""
        return Response(self._description, media_type="application/json")

    def forget(self, room: str) -> None:
        """Note that a room was found to be over."""
        self._guard.end(room)

    def _joined(self, joined: Joined, message: bytes, status: int) -> Response:
        seat = joined.seat
        self._metrics.carry(message)
        ice = self._offer.make(seat.token)
        return answer(JoinedDocument(seat.room, seat.token, int(seat.ttl), ice, _entries(joined.entries)), status)


def client_of(request: Request) -> IPAddress:
    """Give the address of who asks."""
    client: IPAddress = request.scope[CLIENT]
    return client


def answer(document: msgspec.Struct, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(msgspec.json.encode(document), status, media_type="application/json")


def own_token(request: Request) -> str | None:
    """Give the token that a client chose for himself, if he did. Raises Problem as `bearer` does."""
    return bearer(request) if "authorization" in request.headers else None


def _entries(entries: list[Entry]) -> list[EntryDocument]:
    return [EntryDocument(each.sequence, each.body, each.notice.value if each.notice else None) for each in entries]


def _numbered(request: Request) -> str:
    return _room(request, _NUMBER)


def _named(request: Request) -> str:
    return _room(request, _NAME)


def _any(request: Request) -> str:
    return _room(request, _NUMBER, _NAME)


def _room(request: Request, *forms: re.Pattern[str]) -> str:
    room: str = request.path_params["room"]
    if not any(form.fullmatch(room) for form in forms):
        detail = "There is no such room, and can't be."
        raise Problem(Slug.ROOM_UNKNOWN, detail, "A room is a number, or to PUT sides the 64 hex digits of a name.")
    return room
