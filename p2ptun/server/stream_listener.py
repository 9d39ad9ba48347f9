"""Where clients come by TCP or TLS (RFC 8656 3.1, RFC 7443)."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import NoReturn

import trio

from p2ptun.io.refusal import bind_error
from p2ptun.io.sockaddr import endpoint_of, sockaddr_of
from p2ptun.io.socket_options import DEFAULT_OPTIONS
from p2ptun.io.stream import open_stream
from p2ptun.server.admission import Admission
from p2ptun.server.certificate import Certificate
from p2ptun.server.connection import Connection
from p2ptun.server.exchange import Exchange
from p2ptun.types import Endpoint, Transport

BACKLOG = 128


class StreamListener:
    """Accepts streams and runs each until it ends."""

    def __init__(
        self, sock: socket.socket, exchange: Exchange, admission: Admission, certificate: Certificate | None
    ) -> None:
        """Take over a listening socket; with a certificate it speaks TLS. `open_listener` makes one."""
        transport = Transport.TLS if certificate else Transport.TCP
        self.local = replace(endpoint_of(sock.getsockname()), transport=transport)
        self._socket = sock
        self._exchange = exchange
        self._admission = admission
        self._certificate = certificate

    async def run(self) -> NoReturn:
        """Serve whoever comes. Without descriptors left, those who come wait."""
        await trio.serve_listeners(self._serve, [trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))])
        raise AssertionError("listeners are served for ever")  # pragma: no cover

    def close(self) -> None:
        """Accept nobody any more."""
        self._socket.close()

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            remote = replace(endpoint_of(stream.socket.getpeername()), transport=self.local.transport)
        except OSError:  # it has ended before we came to it
            await trio.aclose_forcefully(stream)
            return
        wrapped = self._certificate.wrap(stream) if self._certificate else stream
        connection = Connection(wrapped, remote, self.local)
        try:
            if self._admission.enter(connection):
                await self._run(connection)
        finally:
            self._admission.leave(connection)
            await trio.aclose_forcefully(wrapped)

    async def _run(self, connection: Connection) -> None:
        if not await connection.shake_hands():
            self._exchange.refused["TLS handshake failed"] += 1
            return
        self._exchange.add_connection(connection)
        try:
            await connection.run(self._exchange.handle_frame, self._exchange.stream_turns)
        finally:
            self._exchange.remove_connection(connection)


def open_listener(
    local: Endpoint, exchange: Exchange, admission: Admission, certificate: Certificate | None
) -> StreamListener:
    """Listen on an address and port of this machine.

    Raises:
        DeviceError: If the kernel refuses, with the remedy.
    """
    return StreamListener(listen(local, BACKLOG), exchange, admission, certificate)


def listen(local: Endpoint, backlog: int) -> socket.socket:
    """Open a socket that listens on an address and port of this machine, for TCP and what is on it.

    Raises:
        DeviceError: If the kernel refuses, with the remedy.
    """
    local = replace(local, transport=Transport.TCP)  # errors name it
    family = socket.AF_INET if local.address.version == 4 else socket.AF_INET6
    try:
        sock = open_stream(family, DEFAULT_OPTIONS)
    except OSError as error:
        raise bind_error(local, error) from error
    try:
        sock.bind(sockaddr_of(local))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise bind_error(local, error) from error
    return sock
