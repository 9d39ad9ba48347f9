"""Sockets to TURN servers: one per allocation, known to the core by a token.

Each leads to one server only. The kernel chooses its local address, but not its way: that never leads into a tunnel.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.io.base import Socket
from p2ptun.io.refusal import send_error
from p2ptun.io.server_stream import ServerStream
from p2ptun.io.sockaddr import endpoint_of, sockaddr_of
from p2ptun.io.socket_options import SocketOptions, open_socket
from p2ptun.io.stream import Stream, connect
from p2ptun.io.tls import TlsStream, Trust
from p2ptun.io.udp import UdpSocket
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport

_ANYWHERE = {4: Endpoint(IPv4Address(0), 0), 6: Endpoint(IPv6Address(0), 0)}


class ServerSocket(Socket, Protocol):
    """A socket to one TURN server; `local` is its token, and every datagram in it a STUN message or ChannelData.

    Over a stream, ChannelData goes in padded to 4 bytes and comes out without padding (RFC 8656 12.5). Where a
    connection has failed, or the server's host says that nobody listens, `next_failure` names the server.
    """

    @property
    def server(self) -> Server: ...

    @property
    def bound(self) -> Endpoint:
        """Where it sends from."""
        ...

    @property
    def problem(self) -> str:
        """Why it has failed, for people, where there is more to say than the error does; else empty."""
        ...

    @property
    def is_closed(self) -> bool: ...

    def lose(self, error: SendError) -> None:
        """Fail for a reason that its owner knows; whoever reads it is told by `next_failure`."""
        ...


class ServerUdp(UdpSocket):
    """A UDP socket that is connected to its server: it hears nobody else, and of ICMP errors."""

    problem = ""

    def __init__(self, token: Endpoint, server: Server, sock: socket.socket, options: SocketOptions) -> None:
        """Take over a bound, non-blocking socket and connect it. Raises OSError."""
        super().__init__(sock, options)
        sock.connect(sockaddr_of(server.endpoint))
        self.bound = endpoint_of(sock.getsockname())
        self.local = token
        self.server = server
        self._waiting = trio.CancelScope()

    @property
    def is_closed(self) -> bool:
        """Tell whether it was closed."""
        return self._socket.fileno() < 0

    async def wait_readable(self) -> None:
        """Wait until a datagram is there, or `next_failure` has something to tell.

        Raises:
            trio.ClosedResourceError: If the socket is closed before or meanwhile.
        """
        with trio.CancelScope() as self._waiting:
            if self._failure is not None:
                self._waiting.cancel()
            await super().wait_readable()

    def receive_batch(self, batch: Batch, sources: list[Endpoint]) -> int:
        """Read as `UdpSocket` does. An ICMP error is told as a failure of the server's, which it only hints at."""
        refusals = self.receive_errors["ECONNREFUSED"]
        count = super().receive_batch(batch, sources)
        if self.receive_errors["ECONNREFUSED"] > refusals:
            self._failure = self.server.endpoint, SendError.REFUSED
        return count

    def lose(self, error: SendError) -> None:
        """Fail for a reason that its owner knows; whoever reads it is told by `next_failure`."""
        self._failure = self.server.endpoint, error
        self._waiting.cancel()

    def refusal(self) -> SendError | None:
        """Say why nothing may be sent to the server, if that is so."""
        found = self._sockaddr_of(self.server.endpoint)
        return found if isinstance(found, SendError) else None


def open_server_socket(
    token: Endpoint, server: Server, options: SocketOptions, trust: Trust
) -> ServerSocket | SendError:
    """Open a socket to a server, or say why there is none. It waits for nothing: connections come up by being read.

    `options` confine it to an interface, or guard it against tunnels where that can't be.
    """
    endpoint = server.endpoint
    if endpoint.transport is Transport.UDP:
        return _open_udp(token, server, options)
    sock = connect(anywhere(endpoint), 0, endpoint, options)
    if isinstance(sock, SendError):
        return sock
    stream = TlsStream(sock, server.name, trust) if endpoint.transport is Transport.TLS else Stream(sock)
    return ServerStream(token, server, stream, options)


def anywhere(destination: Endpoint) -> Endpoint:
    """Give the source that leaves the choice to the kernel."""
    return _ANYWHERE[destination.address.version]


def _open_udp(token: Endpoint, server: Server, options: SocketOptions) -> ServerUdp | SendError:
    try:
        sock = open_socket(anywhere(server.endpoint), options)
    except OSError as error:
        return send_error(error.errno)
    try:
        opened = ServerUdp(token, server, sock, options)
    except OSError as error:
        sock.close()
        return send_error(error.errno)
    refusal = opened.refusal()
    if refusal is not None:
        opened.close()
        return refusal
    return opened
