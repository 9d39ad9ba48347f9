"""Whether a server can be reached over UDP, TCP or TLS, and how long its answer takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.errors import MalformedPacket
from p2ptun.io.server_socket import ServerSocket, open_server_socket
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.tls import Trust
from p2ptun.node.link import BATCH_SIZE
from p2ptun.stun.binding import Reflexive, Rejected, binding_request, read_binding_response
from p2ptun.stun.message import decode_message, encode_message, new_transaction_id
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport

RETRANSMISSION = 0.5  # seconds, RFC 8489 6.2.1: the first RTO; we don't double it, for a person waits
NOWHERE = IPv4Address(0)


@dataclass(frozen=True, slots=True)
class Way:
    """One transport address of a server, tried.

    Attributes:
        server: Where, and by which name.
        time: Seconds from nothing to its answer to a Binding request, all handshakes included; None without an answer.
        mapped: Where it saw us.
        problem: Why there was none; None when it just didn't answer.
        detail: More about that in a sentence, if there is more: what was wrong with a certificate.
    """

    server: Server
    time: float | None = None
    mapped: Endpoint | None = None
    problem: SendError | None = None
    detail: str = ""


async def reach(server: Server, options: SocketOptions, trust: Trust, deadline: float) -> Way:
    """Ask a server a Binding request; give up at `deadline`."""
    begins_at = trio.current_time()
    token = Endpoint(NOWHERE, 1, server.endpoint.transport)
    sock = open_server_socket(token, server, options, trust)
    if isinstance(sock, SendError):
        return Way(server, problem=sock)
    attempt = _Attempt(sock)
    try:
        with trio.move_on_at(deadline):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attempt.ask)
                await attempt.wait()
                nursery.cancel_scope.cancel()
    finally:
        sock.close()
    time = trio.current_time() - begins_at if attempt.is_answered else None
    return Way(server, time, attempt.mapped, attempt.problem, sock.problem)


class _Attempt:
    """One question over one socket."""

    def __init__(self, sock: ServerSocket) -> None:
        self.is_answered = False
        self.mapped: Endpoint | None = None
        self.problem: SendError | None = None
        self._socket = sock
        self._transaction_id = new_transaction_id(os.urandom)

    async def ask(self) -> None:
        """Send the request; again and again over UDP."""
        request = encode_message(binding_request(self._transaction_id))
        server = self._socket.server.endpoint
        while True:
            self._socket.send(request, server)
            if server.transport is not Transport.UDP:
                return
            await trio.sleep(RETRANSMISSION)

    async def wait(self) -> None:
        """Read until there is an answer, or there can't be one. What ICMP says over UDP is only a hint, but it ends."""
        batch, sources = Batch(BATCH_SIZE), list[Endpoint]()
        while not self.is_answered and self.problem is None:
            await self._socket.wait_readable()
            self._socket.receive_batch(batch, sources)
            for data in batch:
                self._receive(bytes(data))
            batch.clear()
            sources.clear()
            failure = self._socket.next_failure()
            if failure is not None and not self.is_answered:
                self.problem = failure[1]

    def _receive(self, data: bytes) -> None:
        """Take an answer, an error too: it shows that somebody is there who speaks STUN."""
        try:
            message = decode_message(data)
        except MalformedPacket:
            return
        if message.transaction_id == self._transaction_id:
            result = read_binding_response(message)
            self.is_answered |= isinstance(result, (Reflexive, Rejected))
            if isinstance(result, Reflexive):
                self.mapped = result.endpoint
