"""Whether a relay gives us an address, with the credentials that we have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.io.server_socket import ServerSocket, open_server_socket
from p2ptun.io.socket_options import SocketOptions
from p2ptun.io.tls import Trust
from p2ptun.node.link import BATCH_SIZE
from p2ptun.stun.credential import LongTermCredential
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import Problem, RelayGained, ServerFailed
from p2ptun.turn.order import OpenSocket
from p2ptun.turn.pool import Pool
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError


@dataclass(frozen=True, slots=True)
class RelayResult:
    """What became of it.

    Attributes:
        server: The transport address that gave the address, or whose problem tells most.
        relayed: The addresses on the relay; empty when it gave none.
        time: Seconds until it gave them.
        problem: Why not, as the end of a sentence; empty when it gave them.
        code: What it answered, if that is what it did.
    """

    server: Server
    relayed: tuple[Endpoint, ...] = ()
    time: float | None = None
    problem: str = ""
    code: int | None = None


class RelayTrial:
    """A pool for one relay, for a few seconds."""

    def __init__(
        self, servers: Sequence[Server], credential: LongTermCredential | None, options: SocketOptions, trust: Trust
    ) -> None:
        """`servers` are the transport addresses of the relay, the preferred first."""
        self._servers = servers
        self._credential = credential
        self._options = options
        self._trust = trust
        self._pool = Pool(os.urandom, PoolConfig(max_allocations=1))
        self._sockets: dict[Endpoint, ServerSocket] = {}
        self._result: RelayResult | None = None
        self._news = trio.Event()

    async def run(self, deadline: float) -> RelayResult:
        """Ask for an address, and give it back; give up at `deadline`."""
        begins_at = trio.current_time()
        try:
            with trio.move_on_at(deadline):
                async with trio.open_nursery() as nursery:
                    for server in self._servers:
                        self._pool.add_server(server, self._credential, None, begins_at)
                    self._pool.end_of_servers(begins_at)
                    await self._drive(nursery, begins_at)
                    nursery.cancel_scope.cancel()
        finally:
            self._pool.close(trio.current_time())
            self._send()
            for sock in self._sockets.values():
                sock.close()
        return self._result or RelayResult(self._servers[0], problem=Problem.NO_ANSWER.value)

    async def _drive(self, nursery: trio.Nursery, begins_at: float) -> None:
        while True:
            self._flush(nursery, begins_at)
            if self._result is not None:
                return
            at = self._pool.next_timeout()
            with trio.move_on_at(trio.current_time() + 3600.0 if at is None else at):
                await self._news.wait()
                continue
            self._pool.handle_timeout(max(at or 0.0, trio.current_time()))

    def _flush(self, nursery: trio.Nursery, begins_at: float) -> None:
        self._news = trio.Event()
        self._follow_orders(nursery)
        self._send()
        self._follow_orders(nursery)
        while (event := self._pool.next_event()) is not None:
            if isinstance(event, RelayGained):
                relayed = next((each.relayed for each in self._pool.allocations if event.relayed in each.relayed), ())
                time = trio.current_time() - begins_at
                self._result = RelayResult(event.server, relayed or (event.relayed,), time)
            elif isinstance(event, ServerFailed) and self._result is None:
                self._result = RelayResult(event.server, (), None, event.problem.value, event.code)

    def _follow_orders(self, nursery: trio.Nursery) -> None:
        while (order := self._pool.next_order()) is not None:
            if isinstance(order, OpenSocket):
                self._open(order, nursery)
            elif (sock := self._sockets.pop(order.token, None)) is not None:
                sock.close()

    def _open(self, order: OpenSocket, nursery: trio.Nursery) -> None:
        sock = open_server_socket(order.token, order.server, self._options, self._trust)
        if isinstance(sock, SendError):
            self._fail(order.token, order.server.endpoint, sock)
        else:
            self._sockets[order.token] = sock
            nursery.start_soon(self._read, sock)

    def _send(self) -> None:
        while (transmit := self._pool.next_transmit()) is not None:
            sock = self._sockets.get(transmit.source)
            error = sock.send(transmit.payload, transmit.destination) if sock is not None else None
            if error is not None:
                self._fail(transmit.source, transmit.destination, error)

    async def _read(self, sock: ServerSocket) -> None:
        batch, sources = Batch(BATCH_SIZE), list[Endpoint]()
        with suppress(trio.ClosedResourceError):
            while True:
                await sock.wait_readable()
                sock.receive_batch(batch, sources)
                for data, source in zip(batch, sources, strict=True):
                    self._pool.receive_datagram(bytes(data), source, sock.local, trio.current_time())
                batch.clear()
                sources.clear()
                if (failure := sock.next_failure()) is not None:
                    self._fail(sock.local, *failure)
                self._news.set()

    def _fail(self, token: Endpoint, server: Endpoint, error: SendError) -> None:
        self._pool.record_send_error(token, server, error, trio.current_time())
        self._news.set()
