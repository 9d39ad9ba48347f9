"""The loop around the core: feeds it what arrives, lets time pass for it, and does what it says.

All UDP sockets, listeners and relays, are watched by one epoll, which is itself one descriptor to wait for: there is no
task per socket. Each that has something is served one batch and goes to the end of the line.
"""

from __future__ import annotations

import errno
import select
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

import trio

from p2ptun.errors import DeviceError, LocalProtocolError
from p2ptun.relay.event import AllocationEnded, AllocationMade, RelayEvent
from p2ptun.relay.order import CloseRelay, OpenRelay, Order
from p2ptun.relay.server import Server
from p2ptun.server.connection import Connection
from p2ptun.server.forwarder import Forwarder
from p2ptun.server.port import UdpPort, open_port
from p2ptun.types import Endpoint, Transmit

WORK_PER_WAKE = 64
"""Batches and slow datagrams taken before trio gets its turn: some 10 ms at most, then streams and timers run."""

SOCKETS_PER_ROUND = 16


class Exchange:
    """Runs one server core over its sockets and streams.

    `handle_event` is called for every event of the core, in order; it must not block.

    Attributes:
        refused: What the kernel said of our sockets, and streams that ended for a fault, by reason.
        stream_turns: What streams take one after the other, so that no number of them keeps UDP waiting.
    """

    def __init__(self, core: Server, handle_event: Callable[[RelayEvent], None]) -> None:
        self.core = core
        self.refused: Counter[str] = Counter()
        self.stream_turns = trio.Lock()
        self._handle_event = handle_event
        self._ports: dict[Endpoint, UdpPort] = {}
        self._by_descriptor: dict[int, UdpPort] = {}
        self._connections: dict[tuple[Endpoint, Endpoint], Connection] = {}
        self._forwarder = Forwarder(core, self._ports, self._connections)
        self._epoll = select.epoll()
        self._timer = trio.CancelScope()
        self._past: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How many streams there are."""
        return len(self._connections)

    @property
    def drops(self) -> Counter[str]:
        """What was dropped, by reason: by the core, by the kernel, by streams."""
        counted = Counter({reason.value: count for reason, count in self.core.drops.items()})
        counted.update(self._past)
        counted.update(self.refused)
        for port in self._ports.values():
            counted.update(_lost(port))
        for connection in self._connections.values():
            counted["stream too slow"] += connection.dropped
        return +counted

    def add_listener(self, port: UdpPort) -> None:
        """Serve the clients of a socket; `core.add_listener` is the caller's.

        Raises:
            LocalProtocolError: If there is one on that address and port.
        """
        self._add(port)

    def add_connection(self, connection: Connection) -> None:
        """Let the core reach a client's stream. An older one of the same ends is over, though we haven't heard."""
        key = connection.remote, connection.local
        if (older := self._connections.get(key)) is not None:
            older.end("replaced")
            self.remove_connection(older)
        self._connections[key] = connection

    def remove_connection(self, connection: Connection) -> None:
        """Tell the core that a stream has ended; twice is harmless."""
        key = connection.remote, connection.local
        if self._connections.get(key) is not connection:
            return
        del self._connections[key]
        self._forwarder.forget()
        self._past["stream too slow"] += connection.dropped
        if connection.problem:
            self.refused[f"stream: {connection.problem}"] += 1
        now = trio.current_time()
        self.core.connection_closed(connection.remote, connection.local, now)
        self.flush(now)

    def handle_frame(self, connection: Connection, frame: bytes) -> None:
        """Take a frame that a client's stream brought."""
        now = trio.current_time()
        self.core.receive_datagram(frame, connection.remote, connection.local, now)
        self.flush(now)

    async def run(self) -> NoReturn:
        """Carry what arrives, and keep the core's time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_timer)
            nursery.start_soon(self._carry)
        raise AssertionError("neither task ends")  # pragma: no cover

    def close(self) -> None:
        """Close every UDP socket."""
        for port in list(self._ports.values()):
            self._remove(port)
        self._epoll.close()

    def flush(self, now: float) -> None:
        """Do what the core wants done, hand on its events and set the clock for its next deadline."""
        core = self.core
        while (order := core.next_order()) is not None:
            self._obey(order, now)
        while (transmit := core.next_transmit()) is not None:
            self._send(transmit)
        while (event := core.next_event()) is not None:
            self._follow(event)
            self._handle_event(event)
        self._timer.deadline = self._deadline()

    async def _carry(self) -> NoReturn:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            now = trio.current_time()
            left = WORK_PER_WAKE
            while left > 0 and (ready := self._epoll.poll(0, SOCKETS_PER_ROUND)):
                for descriptor, _ in ready:
                    left -= self._serve(descriptor, now)

    def _serve(self, descriptor: int, now: float) -> int:
        """Serve a socket one batch; return the work it was."""
        port = self._by_descriptor.get(descriptor)
        if port is None:  # closed after epoll saw it
            return 1
        try:
            _, slow = self._forwarder.serve(port, now)
        except OSError as error:
            self.refused[f"receive: {errno.errorcode.get(error.errno or 0, 'unknown')}"] += 1
            return 1
        if slow:
            self.flush(now)
        return 1 + slow

    async def _run_timer(self) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._timer:
                await trio.sleep_forever()
            now = trio.current_time()
            self.core.handle_timeout(now)
            self.flush(now)

    def _deadline(self) -> float:
        at = self.core.next_timeout()
        return float("inf") if at is None else at

    def _obey(self, order: Order, now: float) -> None:
        match order:
            case OpenRelay(order_id, relayed):
                try:
                    self._add(open_port(relayed, is_relay=True))
                except DeviceError:
                    self.refused["relay port in use"] += 1
                    self.core.relay_refused(order_id, now)
                else:
                    self.core.relay_opened(order_id, relayed, now)
            case CloseRelay(relayed):
                self._remove(self._ports[relayed])

    def _send(self, transmit: Transmit) -> None:
        """Send what the core gave. A stream that is gone takes nothing any more; the core hears of that, too."""
        port = self._ports.get(transmit.source)
        if port is not None:
            port.send(transmit.payload, transmit.destination)
        elif (connection := self._connections.get((transmit.destination, transmit.source))) is not None:
            connection.push(transmit.payload)

    def _follow(self, event: RelayEvent) -> None:
        """Let a stream live as long as the allocation that hangs on it."""
        if isinstance(event, AllocationMade | AllocationEnded):
            connection = self._connections.get((event.client, event.local))
            if connection is not None:
                connection.has_allocation = isinstance(event, AllocationMade)

    def _add(self, port: UdpPort) -> None:
        if port.local in self._ports:
            raise LocalProtocolError(f"there is a socket on {port.local} already")
        self._ports[port.local] = port
        self._by_descriptor[port.descriptor] = port
        self._epoll.register(port.descriptor, select.EPOLLIN)

    def _remove(self, port: UdpPort) -> None:
        del self._ports[port.local], self._by_descriptor[port.descriptor]
        self._epoll.unregister(port.descriptor)
        self._past.update(_lost(port))
        self._forwarder.forget()
        port.close()


def _lost(port: UdpPort) -> Counter[str]:
    return Counter({f"send: {error.value}": count for error, count in port.lost.items()})
