"""The driver: the only event loop around machines.

It owns no protocol. It feeds the node what arrives, lets time pass for it, sends what it gives and hands its events on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, Protocol

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.errors import LocalProtocolError
from p2ptun.io.base import Socket
from p2ptun.io.tun import TunDevice
from p2ptun.node.drop import labelled
from p2ptun.node.event import NodeEvent
from p2ptun.node.flight import Flight
from p2ptun.node.link import BATCH_SIZE
from p2ptun.node.node import Node
from p2ptun.node.order import CloseSpares, OpenSpares
from p2ptun.turn.order import CloseSocket, OpenSocket
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transmit


class SocketSource(Protocol):
    """Opens what a node orders, or says why not; it waits for nothing. `Underlay` says what each door does."""

    def connect_server(self, token: Endpoint, server: Server) -> Socket | SendError: ...

    def open_spare(self, base: Endpoint) -> Socket | SendError: ...


class NoSockets:
    """Opens nothing: for a driver that has only the sockets it is given."""

    def connect_server(self, token: Endpoint, server: Server) -> SendError:
        """Refuse."""
        return SendError.UNREACHABLE

    def open_spare(self, base: Endpoint) -> SendError:
        """Refuse."""
        return SendError.UNREACHABLE


NO_SOCKETS = NoSockets()


class Driver:
    """Runs one node over one TUN device and the sockets of its bases.

    Commands reach the node through `node` itself; whoever calls one from another task calls `flush` afterwards. Sockets
    come and go while it runs; their owner closes them after `remove_socket`. Sockets to TURN servers, which `sockets`
    has by their tokens, and those of port searches, which it hasn't, are opened and closed as the node orders.
    `handle_event` is called for every event of the node, in order, in the task that caused it; it must not block.
    """

    def __init__(
        self,
        node: Node,
        tun: TunDevice,
        handle_event: Callable[[NodeEvent], None],
        source: SocketSource = NO_SOCKETS,
    ) -> None:
        self.node = node
        self._tun = tun
        self._handle_event = handle_event
        self._source = source
        self._sockets: dict[Endpoint, Socket] = {}
        self._spares: dict[Endpoint, None] = {}
        self._nursery: trio.Nursery | None = None
        self._past_drops: Counter[str] = Counter()
        self._timer = trio.CancelScope()
        self._datagrams = Batch(BATCH_SIZE)
        self._sources: list[Endpoint] = []

    @property
    def sockets(self) -> Mapping[Endpoint, Socket]:
        """The sockets by the address they are bound to, or their token; those of port searches left out."""
        return {base: socket for base, socket in self._sockets.items() if base not in self._spares}

    @property
    def drops(self) -> Counter[str]:
        """What the kernel didn't take or give, and what belongs to no peer, by reason."""
        counted = Counter({reason.value: count for reason, count in self.node.drops.items()})
        counted += labelled("relay", self.node.relays.drops)
        counted.update(self._past_drops)
        for socket in self._sockets.values():
            counted.update(_drops_of(socket))
        counted.update({f"interface: {name}": count for name, count in self._tun.write_errors.items()})
        return counted

    def start(self, nursery: trio.Nursery, sockets: Sequence[Socket]) -> None:
        """Start the tasks of the loop in `nursery`; they end with it."""
        self._nursery = nursery
        for socket in sockets:
            self.add_socket(socket)
        self.flush()
        nursery.start_soon(self._run_timer)

    def add_socket(self, socket: Socket) -> None:
        """Use one more socket, which no other is bound like.

        Raises:
            LocalProtocolError: Before `start`, or when there is one with this base.
        """
        if self._nursery is None or socket.local in self._sockets:
            raise LocalProtocolError(f"the socket on {socket.local} comes too early, or twice")
        self._sockets[socket.local] = socket
        self._nursery.start_soon(self._read, socket)
        self.node.add_local_address(socket.local, trio.current_time(), socket.tcp_type)
        self.flush()

    def remove_socket(self, base: Endpoint) -> None:
        """Use the socket bound to `base` no longer; what still wants to leave from there is told that it is gone.

        Raises:
            LocalProtocolError: If there is none.
        """
        if base not in self._sockets:
            raise LocalProtocolError(f"there is no socket on {base}")
        self._forget(base)
        self.node.remove_local_address(base, trio.current_time())
        self.flush()

    async def carry(self) -> NoReturn:
        """Carry packets from the TUN device into the node, from now on."""
        packets = Batch(BATCH_SIZE)
        while True:
            await self._tun.wait_readable()
            packets.clear()
            self._tun.read_batch(packets)
            for flight in self.node.send_packets(packets, trio.current_time()):
                await self._send_flight(flight)
            self.flush()

    def flush(self) -> None:
        """Do what the node wants done and sent, hand on its events and set the clock for its next deadline."""
        outdated = self._open_sockets()
        while (transmit := self.node.next_transmit()) is not None:
            self._send(transmit)
            outdated += self._open_sockets()  # when one server refuses, what goes to the next may come right behind
        while (event := self.node.next_event()) is not None:
            self._handle_event(event)
        outdated += self._open_sockets()
        for token in outdated:
            if token in self._sockets:
                self._forget(token).close()
        self._timer.deadline = self._deadline()

    def _open_sockets(self) -> list[Endpoint]:
        """Open the sockets that the node orders. Return those it orders closed: what goes out from them goes first."""
        outdated: list[Endpoint] = []
        while self._nursery is not None and (order := self.node.next_order()) is not None:
            match order:
                case OpenSocket(token, server):
                    self._open(token, server, self._nursery)
                case CloseSocket(token):
                    outdated.append(token)
                case OpenSpares(peer, base, count):
                    for _ in range(count):
                        self._open_spare(peer, base, self._nursery)
                case CloseSpares(bases):
                    outdated += bases
        return outdated

    def _open(self, token: Endpoint, server: Server, nursery: trio.Nursery) -> None:
        opened = self._source.connect_server(token, server)
        if isinstance(opened, SendError):
            self.node.record_send_error(token, server.endpoint, opened, trio.current_time())
        else:
            self._sockets[token] = opened
            nursery.start_soon(self._read, opened)

    def _open_spare(self, peer: str, base: Endpoint, nursery: trio.Nursery) -> None:
        opened = self._source.open_spare(base)
        if isinstance(opened, SendError):
            self._past_drops[f"open: {opened.value}"] += 1
            return
        self._sockets[opened.local] = opened
        self._spares[opened.local] = None
        nursery.start_soon(self._read, opened)
        self.node.add_spare_address(peer, opened.local, trio.current_time())

    def _forget(self, base: Endpoint) -> Socket:
        """Use a socket no longer, but keep in mind what got lost there."""
        socket = self._sockets.pop(base)
        self._spares.pop(base, None)
        self._past_drops.update(_drops_of(socket))
        return socket

    def _send(self, transmit: Transmit) -> None:
        socket = self._sockets.get(transmit.source)
        if socket is None:
            self._report_gone(transmit.source, transmit.destination)
            return
        error = socket.send(transmit.payload, transmit.destination)
        if error is not None:
            self.node.record_send_error(transmit.source, transmit.destination, error, trio.current_time())

    async def _read(self, socket: Socket) -> None:
        """Read until the socket is closed or no longer ours."""
        while True:
            try:
                await socket.wait_readable()
            except trio.ClosedResourceError:
                return
            if self._sockets.get(socket.local) is not socket:
                return
            self._datagrams.clear()
            self._sources.clear()
            socket.receive_batch(self._datagrams, self._sources)
            packets = self.node.receive_datagrams(self._datagrams, self._sources, socket.local, trio.current_time())
            if packets.spans:
                self._tun.write_batch(packets)
            self._report_failures(socket)
            self.flush()

    async def _send_flight(self, flight: Flight) -> None:
        """Send a batch; while the socket is full wait for it, and so leave the TUN device unread: back-pressure."""
        while (socket := self._sockets.get(flight.source)) is not None:
            is_sent = socket.send_batch(flight.datagrams, flight.destination)
            self._report_failures(socket)
            if is_sent:
                return
            with suppress(trio.ClosedResourceError):
                await socket.wait_writable()
        self._report_gone(flight.source, flight.destination)

    def _report_failures(self, socket: Socket) -> None:
        """Tell the node what the kernel, or a connection, refused."""
        while (failure := socket.next_failure()) is not None:
            self.node.record_send_error(socket.local, *failure, trio.current_time())

    def _report_gone(self, source: Endpoint, destination: Endpoint) -> None:
        """Tell the node that a socket isn't there any more; what should have left from there is lost and counted."""
        self._past_drops[f"send: {SendError.SOURCE_GONE.value}"] += 1
        self.node.record_send_error(source, destination, SendError.SOURCE_GONE, trio.current_time())

    async def _run_timer(self) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._timer:
                await trio.sleep_forever()
            self.node.handle_timeout(trio.current_time())
            self.flush()

    def _deadline(self) -> float:
        at = self.node.next_timeout()
        return float("inf") if at is None else at


def _drops_of(socket: Socket) -> Counter[str]:
    counted = Counter({f"send: {error.value}": count for error, count in socket.send_errors.items()})
    counted.update({f"receive: {name}": count for name, count in socket.receive_errors.items()})
    return counted
