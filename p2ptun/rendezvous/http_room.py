"""Our side of a room at an HTTP server."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from p2ptun.errors import LocalProtocolError, RoomGone, RoomUnknown
from p2ptun.rendezvous.base import MAX_MESSAGE_SIZE, BurnReason, Delivery, IceServers, Notice
from p2ptun.rendezvous.http_answer import Entry, IceAnswer, MailAnswer, PostAnswer, SeatAnswer, ice_servers
from p2ptun.rendezvous.http_client import Call, HttpClient
from p2ptun.rendezvous.together import beside
from p2ptun.rendezvous.trouble import Persistence

WAIT: Final = 25  # seconds that the server keeps a poll; proxies cut what is silent for longer than 30
POLL_TIMEOUT: Final = WAIT + 5.0
NOTICES: Final = {notice.value: notice for notice in Notice}


class HttpRoom:
    """A room that long polls.

    A receiving poll holds one connection. Another one is kept warm beside it, so that what is sent after a delivery,
    and the next poll, wait for no handshake. A message that may or may not have arrived is sent once more: the other
    side's conversation drops repeats. What was delivered once isn't again, by its sequence number.
    """

    def __init__(self, client: HttpClient, persistence: Persistence, seat: SeatAnswer, *, is_numbered: bool) -> None:
        self._client = client
        self._persistence = persistence
        self._path = f"v1/rooms/{seat.room}"
        self._token = seat.side_token
        self._number = seat.room if is_numbered else None
        self._ice = ice_servers(seat.ice)
        self._last = 0
        self._received: deque[Delivery] = deque()
        self._order = trio.Lock()
        self._lull = persistence.backoff()
        self._take(seat.messages)

    @property
    def number(self) -> str | None:
        """What the other side joins by; None for a named room."""
        return self._number

    @property
    def ice(self) -> IceServers:
        """What the server offered last."""
        return self._ice

    async def send(self, message: bytes) -> None:
        """Leave a message. Returns when the server has it, however long that takes.

        Raises:
            LocalProtocolError: It is empty, or larger than a rendezvous carries.
            RendezvousError: As every room's.
        """
        if not 0 < len(message) <= MAX_MESSAGE_SIZE:
            raise LocalProtocolError(f"message of {len(message)} bytes")
        call = Call("POST", f"{self._path}/messages", self._token, message)
        async with self._order:
            await self._persistence.for_ever(lambda: self._client.ask(call, PostAnswer))

    async def receive(self) -> Delivery:
        """Wait for a message or a notice."""
        await trio.lowlevel.checkpoint()
        while not self._received:
            await self._poll()
        return self._received.popleft()

    async def renew_ice(self) -> IceServers:
        """Ask what is on offer now."""
        call = Call("GET", "v1/ice", self._token)
        self._ice = ice_servers(await self._persistence.for_ever(lambda: self._client.ask(call, IceAnswer)))
        return self._ice

    async def burn(self, reason: BurnReason) -> None:
        """End the room. A room that is gone already is as good.

        Raises:
            RendezvousError: The server can't be reached for some seconds; the room ends by itself, later.
        """
        call = Call("DELETE", f"{self._path}?reason={reason.value}", self._token)
        with suppress(RoomGone, RoomUnknown):
            await self._persistence.at_first(lambda: self._client.send(call))

    async def aclose(self) -> None:
        """Leave. The server keeps the room for a while, and nothing is open of it here: connections are shared."""
        await trio.lowlevel.checkpoint()

    async def _poll(self) -> None:
        """Ask for what has come, and let the server wait for it. While that was nothing, keep the warm one warm."""
        began_at = trio.current_time()
        call = Call("GET", f"{self._path}/messages?after={self._last}&wait={WAIT}", self._token, timeout=POLL_TIMEOUT)
        answer = await beside(
            self._client.keep_warm, lambda: self._persistence.for_ever(lambda: self._client.ask(call, MailAnswer))
        )
        if self._take(answer.messages):
            self._lull.reset()
        elif trio.current_time() < began_at + WAIT / 2:  # it shuts down, or it has nothing and says so without end
            await trio.sleep(self._lull.next_delay())

    def _take(self, entries: Sequence[Entry]) -> bool:
        """Put down what is new; tell whether anything was."""
        before = self._last
        for entry in entries:
            if entry.sequence <= self._last:
                continue
            self._last = entry.sequence
            if entry.body is not None:
                self._received.append(entry.body)
            elif entry.notice in NOTICES:
                self._received.append(NOTICES[entry.notice])
        return self._last > before
