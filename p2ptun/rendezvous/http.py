"""The rendezvous that is a server: rooms over HTTP, with long polls.

==========================================  ===========================================================================
``POST v1/rooms``                           open a numbered room
``POST v1/rooms/{room}/sides``              join it; the body is the first message, the answer what the other side left
``PUT v1/rooms/{name}/sides``               enter a named room, likewise
``POST v1/rooms/{room}/messages``           leave a message
``GET v1/rooms/{room}/messages``            what came after the sequence number `after`; waits up to `wait` seconds
``DELETE v1/rooms/{room}``                  burn it
``GET v1/ice``                              STUN and TURN servers, with credentials (RTCIceServer of WebRTC)
``GET healthz``                             nothing: it opens a connection before there is need of one
==========================================  ===========================================================================

The answer to joining comes after one round trip of HTTP, what the other side sends half a round trip after it was sent:
a connection waits for it, another one for what we send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random, SystemRandom
from secrets import token_urlsafe
from typing import Final

import trio

from p2ptun.errors import LocalProtocolError
from p2ptun.rendezvous.base import Context
from p2ptun.rendezvous.http_answer import SeatAnswer, Unreadable, check_seat, is_number, is_token
from p2ptun.rendezvous.http_client import Call, HttpClient
from p2ptun.rendezvous.http_problem import foreign
from p2ptun.rendezvous.http_room import HttpRoom
from p2ptun.rendezvous.http_url import parse_server_url
from p2ptun.rendezvous.together import beside
from p2ptun.rendezvous.trouble import Persistence

TOKEN_BYTES: Final = 32  # 43 characters

MIN_GRACE: Final = 0.1
"""Seconds that a second connection may be ready later than the first answer; as long as that took, if that is more."""

MAX_GRACE: Final = 1.0  # seconds


class HttpRendezvous:
    """A rendezvous server (`p2ptun serve`, or whoever speaks its API). Redirections aren't followed.

    Opening and joining, at which a person waits, give up after some seconds without a server. Entering a named room
    doesn't, nor does anything in a room.

    Args:
        url: `https://HOST[:PORT][/PATH]`, or http: what is carried is sealed either way.
        context: Whom to tell, and whom to trust.
        random: Where waits between attempts get their spread from.

    Raises:
        ConfigError: No URL of a server.
    """

    def __init__(self, url: str, context: Context, random: Random | None = None) -> None:
        self._server = parse_server_url(url)
        self._client = HttpClient(self._server, context.ca_file)
        self._persistence = Persistence(context, random or SystemRandom())

    async def prepare(self) -> None:
        """Have a connection ready before there is need of one: while a person still types. In vain is fine."""
        await self._client.warm()

    async def check(self) -> None:
        """Ask whether the server is there, and leave a connection open to it. Raises RendezvousError."""
        await self._persistence.at_first(self._client.check)

    async def open_room(self) -> HttpRoom:
        """Open a numbered room."""

        async def attempt() -> SeatAnswer:
            return await self._sit_down(Call("POST", "v1/rooms"), None, None)

        return HttpRoom(self._client, self._persistence, await self._first(attempt), is_numbered=True)

    async def join_room(self, number: str, opening: bytes) -> HttpRoom:
        """Join a numbered room.

        When a connection breaks it isn't known whether we have joined. So we bring a token of our own: by it the server
        knows us when we ask once more.
        """
        if not is_number(number):
            raise LocalProtocolError("no number of a room")
        token = f"{number}.{token_urlsafe(TOKEN_BYTES)}"
        call = Call("POST", f"v1/rooms/{number}/sides", token, opening)

        async def attempt() -> SeatAnswer:
            return await self._sit_down(call, number, None)

        return HttpRoom(self._client, self._persistence, await self._first(attempt), is_numbered=True)

    async def enter_room(self, name: str, token: str, opening: bytes) -> HttpRoom:
        """Enter a named room, for ever if need be."""
        whole = f"{name}.{token}"
        if len(name) != 64 or not is_token(whole):
            raise LocalProtocolError("no name or token of a room")
        call = Call("PUT", f"v1/rooms/{name}/sides", whole, opening)

        async def attempt() -> SeatAnswer:
            return await self._sit_down(call, name, whole)

        seat = await self._warmly(lambda: self._persistence.for_ever(attempt))
        return HttpRoom(self._client, self._persistence, seat, is_numbered=False)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _sit_down(self, call: Call, room: str | None, token: str | None) -> SeatAnswer:
        seat = await self._client.ask(call, SeatAnswer)
        try:
            check_seat(seat, room, token)
        except Unreadable as error:
            raise foreign(self._server) from error
        return seat

    async def _first(self, attempt: Callable[[], Awaitable[SeatAnswer]]) -> SeatAnswer:
        return await self._warmly(lambda: self._persistence.at_first(attempt))

    async def _warmly(self, meet: Callable[[], Awaitable[SeatAnswer]]) -> SeatAnswer:
        """Meet the server, and have a second connection when that is done."""
        began_at = trio.current_time()

        def grace() -> float:
            return min(max(trio.current_time() - began_at, MIN_GRACE), MAX_GRACE)

        return await beside(self._client.warm, meet, grace)
