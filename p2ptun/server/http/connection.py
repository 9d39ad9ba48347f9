"""One client's connection, and what it may cost: time for a head, for an answer to be taken, for silence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState

from p2ptun.server.http.problem import Problem, Slug
from p2ptun.server.http.protocol import Calls, Http1

if TYPE_CHECKING:
    from hypercorn.config import Config
    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.typing import AppWrapper, TaskGroup

    from p2ptun.types import Endpoint

KEEP_ALIVE_TIMEOUT: Final = 75.0
"""Seconds that a connection may be silent between two requests: longer than the proxies in front of us keep theirs."""

HEAD_TIMEOUT: Final = 10.0  # seconds from the first byte of a request to the last of its head; the first one's too
STUCK_TIMEOUT: Final = 20.0  # seconds until a client has taken an answer
HANDSHAKE_TIMEOUT: Final = 10.0  # seconds; slow phones on bad networks need three
LINGER_TIMEOUT: Final = 1.0
"""Seconds that we still listen after our last word: a connection closed with bytes unread would take that word back."""

READ_SIZE: Final = 1 << 13  # bytes; less than a head may have, so that its limit is met

Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


class Connection:
    """A client at `remote`, who came to our listener `local`.

    Attributes:
        is_busy: Whether there is a request that isn't answered yet.
    """

    def __init__(self, stream: Stream, remote: Endpoint, local: Endpoint) -> None:
        self.remote = remote
        self.local = local
        self.is_busy = False
        self._stream = stream
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._answering = trio.CancelScope()
        self._deadline = trio.current_time() + HEAD_TIMEOUT
        self._has_begun = False
        self._is_over = False
        self._is_gone = False

    async def shake_hands(self) -> bool:
        """Begin TLS, if that is what it speaks; False when nothing came of it in time."""
        if not isinstance(self._stream, trio.SSLStream):
            return True
        with trio.CancelScope(deadline=trio.current_time() + HANDSHAKE_TIMEOUT) as self._reading:
            try:
                await self._stream.do_handshake()
            except trio.BrokenResourceError:
                return False
            self._deadline = trio.current_time() + HEAD_TIMEOUT
            return True
        return False

    async def run(self, app: AppWrapper, config: Config, context: WorkerContext) -> None:
        """Answer requests until either side ends it."""
        async with trio.open_nursery() as nursery:
            self._answering = nursery.cancel_scope
            protocol = Http1(
                app,
                config,
                context,
                cast("TaskGroup", Calls(nursery, context)),
                ConnectionState({}),
                isinstance(self._stream, trio.SSLStream),
                (str(self.remote.address), self.remote.port),
                (str(self.local.address), self.local.port),
                self._handle,
            )
            await self._read(protocol)
            await protocol.handle(Closed())
        if not self._is_gone and protocol.is_cut_short:
            await self._linger()

    def end(self) -> None:
        """End it from our side, unless something is being answered."""
        if not self.is_busy:
            self._is_gone = True  # there is no last word to wait for
            self._finish()

    async def _read(self, protocol: Http1) -> None:
        """Read requests; who takes too long with a head is told."""
        while not self._is_over:
            data = b""
            with trio.CancelScope(deadline=self._deadline) as self._reading:
                try:
                    data = bytes(await self._stream.receive_some(READ_SIZE))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._is_gone = True
            if self._reading.cancelled_caught:
                if self._has_begun and not self._is_over:
                    detail = "The head of the request didn't come in time."
                    await protocol.refuse(Problem(Slug.TOO_SLOW, detail, "Send it again, faster."))
                else:
                    self._is_gone = self._is_gone or not self._is_over
                return
            if not self.is_busy and not self._has_begun:
                self._has_begun = True
                self._deadline = min(self._deadline, trio.current_time() + HEAD_TIMEOUT)
            await protocol.handle(RawData(data))
            if not data:
                self._is_gone = True
                return

    async def _handle(self, event: Event) -> None:
        """Do what the protocol wants."""
        match event:
            case RawData(data=data):
                await self._send(data)
            case Closed():
                self._finish()
            case Updated(idle=idle):
                self.is_busy = not idle
                self._has_begun = False
                self._deadline = trio.current_time() + KEEP_ALIVE_TIMEOUT if idle else math.inf
                self._reading.deadline = self._deadline

    async def _send(self, data: bytes) -> None:
        if self._is_gone and self._is_over:
            return
        try:
            with trio.fail_after(STUCK_TIMEOUT):
                async with self._sending:
                    await self._stream.send_all(data)
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._is_gone = True
            self._finish()
            self._answering.cancel()  # requests that it sent besides would be answered for nobody

    def _finish(self) -> None:
        self._is_over = True
        self._reading.cancel()

    async def _linger(self) -> None:
        """Say that there is no more, and drop what comes until the client has heard it."""
        plain = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        with trio.CancelScope(deadline=trio.current_time() + LINGER_TIMEOUT) as self._reading:
            try:
                await plain.send_eof()
                while await plain.receive_some(READ_SIZE):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
