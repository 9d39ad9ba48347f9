"""TCP between hosts, as the core sees it: frames that arrive whole, in order and once, or an error.

A host sends from a base to a destination; the first frame opens the connection. A base with port 9 is active
(RFC 6544 4.5): every connection of it gets a port of its own. Any other base listens, and may open as well, even to
one that opens at the same time. Every piece passes the gateways anew; what is lost on the way is sent again, and what
finds no connection is answered with a reset. Nobody answers for a host that is gone: giving up takes a minute or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count

from p2ptun.types import Endpoint, SendError, Transmit, Transport

from .host import ErrorHost, Host

DISCARD = 9
FIRST_EPHEMERAL = 50000
SYN_INTERVAL, SYN_TRIES = 1.0, 6  # Linux: tcp_syn_retries
FRAME_INTERVAL, FRAME_TRIES = (
    0.2,
    10,
)  # Linux: TCP_RTO_MIN; tries are fewer than its 15, for a quarter of an hour is long


class Kind(Enum):
    """What a parcel is."""

    DATAGRAM = "datagram"
    OPEN = "open"  # SYN
    ACCEPT = "accept"  # SYN and ACK
    FRAME = "frame"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What travels. `number` orders the frames of one direction, `tries` counts how often it was lost before."""

    packet: Transmit
    kind: Kind = Kind.DATAGRAM
    number: int = 0
    tries: int = 0


@dataclass(slots=True, eq=False)
class Connection:
    """One side's view: `local` is its port on the wire, `base` what its host calls it."""

    host: Host
    base: Endpoint
    local: Endpoint
    remote: Endpoint
    is_open: bool = False
    waiting: list[bytes] = field(default_factory=list)
    sent: int = 0
    received: int = 0
    early: dict[int, bytes] = field(default_factory=dict)


class Streams:
    """All connections. The network gives and takes parcels; `later` lets something happen after some seconds."""

    def __init__(
        self,
        carry: Callable[[Host, Parcel], None],
        later: Callable[[float, Callable[[], None]], None],
        plug: Callable[[Host, Endpoint, Endpoint], None],
    ) -> None:
        self._carry = carry
        self._later = later
        self._plug = plug
        self._ports = count(FIRST_EPHEMERAL)
        self._connections: dict[tuple[Host, Endpoint, Endpoint], Connection] = {}
        self._actives: dict[tuple[Host, Endpoint, Endpoint], Connection] = {}

    def send(self, host: Host, packet: Transmit) -> None:
        """Send a frame, over a new connection when there is none."""
        connection = self._find(host, packet.source, packet.destination)
        if connection is None:
            connection = self._open(host, packet.source, packet.destination)
        connection.waiting.append(packet.payload)
        self._flush(connection)

    def receive(self, host: Host, parcel: Parcel, now: float) -> None:
        """Take what arrived for a host."""
        local, remote = parcel.packet.destination, parcel.packet.source
        connection = self._connections.get((host, local, remote))
        may_listen = local.port != DISCARD and (host, local) not in self._ephemeral
        if connection is None and parcel.kind is Kind.OPEN and may_listen:
            connection = self._add(Connection(host, local, local, remote))
        if connection is None:
            if parcel.kind is not Kind.RESET:
                self._carry(host, Parcel(Transmit(b"", local, remote), Kind.RESET))
            return
        if parcel.kind is Kind.RESET:
            self._end(connection, SendError.REFUSED, now)
            return
        if parcel.kind is Kind.OPEN:
            self._carry(host, Parcel(Transmit(b"", local, remote), Kind.ACCEPT))
        connection.is_open = True
        self._flush(connection)
        if parcel.kind is Kind.FRAME:
            self._deliver(connection, parcel, now)

    def record_lost(self, host: Host, parcel: Parcel, now: float) -> None:
        """Send again what a host's wire has lost, or give the connection up."""
        connection = self._connections.get((host, parcel.packet.source, parcel.packet.destination))
        if connection is None or parcel.kind in (Kind.RESET, Kind.ACCEPT):
            return  # whoever opens asks again
        if parcel.kind is Kind.OPEN and connection.is_open:
            return
        first, most = (SYN_INTERVAL, SYN_TRIES) if parcel.kind is Kind.OPEN else (FRAME_INTERVAL, FRAME_TRIES)
        if parcel.tries >= most:
            self._end(connection, SendError.UNREACHABLE, now)
            return
        again = replace(parcel, tries=parcel.tries + 1)
        self._later(first * 2**parcel.tries, lambda: self._repeat(connection, again))

    def forget(self, host: Host, base: Endpoint) -> None:
        """Drop the connections of a base that is gone, without a word."""
        for connection in [each for each in self._connections.values() if each.host is host and each.base == base]:
            self._remove(connection)

    @property
    def _ephemeral(self) -> set[tuple[Host, Endpoint]]:
        return {(each.host, each.local) for each in self._actives.values()}

    def _find(self, host: Host, base: Endpoint, remote: Endpoint) -> Connection | None:
        known = self._actives if base.port == DISCARD else self._connections
        return known.get((host, base, remote))

    def _open(self, host: Host, base: Endpoint, remote: Endpoint) -> Connection:
        local = base
        if base.port == DISCARD:
            local = Endpoint(base.address, next(self._ports), Transport.TCP)
            self._plug(host, local, base)
        connection = self._add(Connection(host, base, local, remote))
        self._carry(host, Parcel(Transmit(b"", local, remote), Kind.OPEN))
        return connection

    def _add(self, connection: Connection) -> Connection:
        self._connections[connection.host, connection.local, connection.remote] = connection
        if connection.base.port == DISCARD:
            self._actives[connection.host, connection.base, connection.remote] = connection
        return connection

    def _remove(self, connection: Connection) -> None:
        self._connections.pop((connection.host, connection.local, connection.remote), None)
        self._actives.pop((connection.host, connection.base, connection.remote), None)

    def _end(self, connection: Connection, error: SendError, now: float) -> None:
        self._remove(connection)
        if isinstance(connection.host, ErrorHost):
            connection.host.record_send_error(connection.base, connection.remote, error, now)

    def _flush(self, connection: Connection) -> None:
        """Send what waited for the connection to open."""
        waiting, local, remote = connection.waiting, connection.local, connection.remote
        while connection.is_open and waiting:
            connection.sent += 1
            self._carry(connection.host, Parcel(Transmit(waiting.pop(0), local, remote), Kind.FRAME, connection.sent))

    def _repeat(self, connection: Connection, parcel: Parcel) -> None:
        is_known = connection is self._connections.get((connection.host, connection.local, connection.remote))
        if is_known and not (parcel.kind is Kind.OPEN and connection.is_open):
            self._carry(connection.host, parcel)

    def _deliver(self, connection: Connection, parcel: Parcel, now: float) -> None:
        """Hand frames over in their order; one that came twice counts once."""
        if parcel.number > connection.received:
            connection.early[parcel.number] = parcel.packet.payload
        while connection.received + 1 in connection.early:
            connection.received += 1
            frame = connection.early.pop(connection.received)
            connection.host.receive(frame, connection.remote, connection.base, now)
