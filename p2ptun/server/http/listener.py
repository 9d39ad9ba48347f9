"""Where clients come by HTTP or HTTPS."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from p2ptun.io.sockaddr import endpoint_of
from p2ptun.server.http.connection import Connection
from p2ptun.server.stream_listener import listen
from p2ptun.types import Endpoint, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2ptun.server.certificate import Certificate
    from p2ptun.server.http.reception import Reception

BACKLOG = 1024  # who comes while we are busy waits in the kernel

logger = logging.getLogger(__name__)


class HttpListener:
    """Accepts connections and runs each until it ends."""

    def __init__(self, sock: socket.socket, certificate: Certificate | None) -> None:
        """Take over a listening socket; with a certificate it speaks TLS. `open_http_listener` makes one."""
        transport = Transport.TLS if certificate else Transport.TCP
        self.local = replace(endpoint_of(sock.getsockname()), transport=transport)
        self.failures: Counter[str] = Counter()
        self._socket = sock
        self._certificate = certificate
        self._accepting = trio.CancelScope()

    @property
    def scheme(self) -> str:
        """How its URLs begin."""
        return "https" if self._certificate else "http"

    async def run(self, reception: Reception, serve: Callable[[Connection], Awaitable[None]]) -> None:
        """Serve whoever comes, until `stop`; then those who have come. Without descriptors left, newcomers wait."""

        async def take(stream: trio.SocketStream) -> None:
            await self._take(stream, reception, serve)

        async with trio.open_nursery() as nursery:
            with self._accepting:
                await trio.lowlevel.checkpoint_if_cancelled()  # when `stop` came first, there is no socket
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
                await trio.serve_listeners(take, [listener], handler_nursery=nursery)

    def stop(self) -> None:
        """Accept nobody any more."""
        self._accepting.cancel()
        self.close()

    def close(self) -> None:
        """Close the socket; twice is harmless."""
        self._socket.close()

    async def _take(
        self, stream: trio.SocketStream, reception: Reception, serve: Callable[[Connection], Awaitable[None]]
    ) -> None:
        try:
            remote = replace(endpoint_of(stream.socket.getpeername()), transport=self.local.transport)
            local = replace(endpoint_of(stream.socket.getsockname()), transport=self.local.transport)
        except OSError:  # it has ended before we came to it
            await trio.aclose_forcefully(stream)
            return
        wrapped = self._certificate.wrap(stream) if self._certificate else stream
        connection = Connection(wrapped, remote, local)
        try:
            if reception.enter(connection):
                await self._run(connection, serve)
        finally:
            reception.leave(connection)
            await trio.aclose_forcefully(wrapped)

    async def _run(self, connection: Connection, serve: Callable[[Connection], Awaitable[None]]) -> None:
        """Run one. A mistake of ours ends this connection, and no other."""
        try:
            if await connection.shake_hands():
                await serve(connection)
            else:
                self.failures["TLS handshake failed"] += 1
        except Exception:
            self.failures["our mistake"] += 1
            logger.exception("a connection failed")


def open_http_listener(local: Endpoint, certificate: Certificate | None) -> HttpListener:
    """Listen on an address and port of this machine.

    Raises:
        DeviceError: If the kernel refuses, with the remedy.
    """
    return HttpListener(listen(local, BACKLOG), certificate)
