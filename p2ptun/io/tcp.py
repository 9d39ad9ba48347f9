"""TCP bases: datagrams over connections, with the manners of a UDP socket (RFC 6544, RFC 4571).

A `TcpBase` stands for all connections of one ICE base. A STUN message opens one where none leads; data never does. All
its sockets are watched by one epoll, which is itself one descriptor to wait for: there is no task per connection, and
whoever reads the base also accepts, connects and goes on with what was sent by halves.

Whoever connects to us is an intruder until our own side asks something back or sends data: the first frame must be
STUN, and soon; intruders are few, from one address fewer, and the oldest makes room for the next.
"""

from __future__ import annotations

import errno
import math
import select
import socket
from collections import Counter, deque
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.ice.candidate_type import TcpType
from p2ptun.ice.tcp import active_base
from p2ptun.io.connection import Connection
from p2ptun.io.framing import HEADER_SIZE, LARGEST_FRAME, frame, split_frames
from p2ptun.io.refusal import bind_error
from p2ptun.io.sockaddr import endpoint_of, sockaddr_of
from p2ptun.io.socket_options import DEFAULT_OPTIONS, SocketOptions, confine
from p2ptun.io.stream import connect, open_stream
from p2ptun.node.demux import DatagramKind, classify
from p2ptun.stun.message import is_stun
from p2ptun.types import Endpoint, IPAddress, IPNetwork, SendError, Transport

MAX_CONNECTIONS = 1024
MAX_INTRUDERS = 64
MAX_INTRUDERS_PER_ADDRESS = 8
LARGEST_INTRUSION = 1 << 14  # bytes of a frame: data may come as soon as we answered, before we ask
READ_SIZE = 1 << 17  # bytes read from one connection before the next has its turn
INTRUDER_READ_SIZE = 1 << 12  # of the smallest frames they are 200
EVENTS_PER_WAKE = 64
BACKLOG = 64
DEAF_TIME = 1.0
"""Seconds without new connections when the process has no descriptors left."""

_READ_WRITE = select.EPOLLIN | select.EPOLLOUT
_MISSING_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TcpBase:
    """The connections of one base: accepted by its listener, where it has one, and opened by `send`.

    `send_errors` counts datagrams that were lost, `receive_errors` connections and frames that were refused.
    """

    def __init__(
        self, local: Endpoint, listener: socket.socket | None, tcp_type: TcpType, options: SocketOptions
    ) -> None:
        """Take over a listening socket; `listen` and `active` make bases."""
        self.local = local
        self.tcp_type = tcp_type
        self.send_errors: Counter[SendError] = Counter()
        self.receive_errors: Counter[str] = Counter()
        self._listener = listener
        self._options = options
        self._epoll = select.epoll()
        self._connections: dict[Endpoint, Connection] = {}
        self._by_descriptor: dict[int, Connection] = {}
        self._failures: deque[tuple[Endpoint, SendError]] = deque(maxlen=MAX_CONNECTIONS)
        self._sweep_at = math.inf
        self._is_closed = False
        if listener is not None:
            self._epoll.register(listener, select.EPOLLIN)

    @classmethod
    async def listen(
        cls, local: Endpoint, tcp_type: TcpType = TcpType.PASSIVE, options: SocketOptions = DEFAULT_OPTIONS
    ) -> TcpBase:
        """Make a base that takes connections, and opens them when it is one for simultaneous open.

        Port 0 lets the kernel choose. It waits for nothing and is a checkpoint, as trio's own `bind`.

        Raises:
            DeviceError: If the kernel refuses, with the remedy.
        """
        await trio.lowlevel.checkpoint()
        family = socket.AF_INET if local.address.version == 4 else socket.AF_INET6
        try:
            sock = open_stream(family, options, is_shared=tcp_type is TcpType.SIMULTANEOUS_OPEN)
        except OSError as error:
            raise bind_error(local, error) from error
        try:
            sock.bind(sockaddr_of(local))
            confine(sock, options.interface)
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise bind_error(local, error) from error
        return cls(_tcp_endpoint(sock.getsockname()), sock, tcp_type, options)

    @classmethod
    def active(cls, address: IPAddress, options: SocketOptions = DEFAULT_OPTIONS) -> TcpBase:
        """Make a base that opens connections, each from a port of its own."""
        return cls(active_base(address), None, TcpType.ACTIVE, options)

    @property
    def connections(self) -> int:
        """How many there are, opened or under way."""
        return len(self._connections)

    async def wait_readable(self) -> None:
        """Wait until `receive_batch` has something to do, be it only to close what is idle.

        Raises:
            trio.ClosedResourceError: If the base is closed before or meanwhile.
        """
        if self._is_closed:
            raise trio.ClosedResourceError
        with trio.CancelScope(deadline=self._sweep_at):
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    async def wait_writable(self) -> None:
        """Return at once: what a stream doesn't take is dropped, the oldest first, and holds up nobody else."""
        await trio.lowlevel.checkpoint()

    def receive_batch(self, batch: Batch, sources: list[Endpoint]) -> int:
        """Do what is due on all connections; read frames into `batch` after what it holds, and return how many.

        Their sources go to the end of `sources`, in step with the spans. Connections that failed come out of
        `next_failure`.
        """
        now = trio.current_time()
        before = len(sources)
        for descriptor, events in self._epoll.poll(0, EVENTS_PER_WAKE):
            connection = self._by_descriptor.get(descriptor)
            if connection is not None:
                self._serve(connection, events, batch, sources, now)
            elif self._listener is not None and descriptor == self._listener.fileno():
                self._accept(self._listener, now)
        if now >= self._sweep_at:
            self._sweep(now)
        return len(sources) - before

    def next_failure(self) -> tuple[Endpoint, SendError] | None:
        """Give the other end of a connection that failed, and why."""
        return self._failures.popleft() if self._failures else None

    def send(self, payload: bytes | bytearray | memoryview, destination: Endpoint) -> SendError | None:
        """Send one datagram, or let it wait for the stream; else say why not (counted too)."""
        error = self._send(payload, destination)
        if error is not None:
            self.send_errors[error] += 1
        return error

    def send_batch(self, batch: Batch, destination: Endpoint) -> bool:
        """Send the datagrams of `batch`; always True, for what the stream doesn't take waits here or is dropped."""
        connection = self._connections.get(destination)
        if connection is None:
            self.send_errors[SendError.UNREACHABLE] += len(batch)
        else:
            for payload in batch:
                if len(payload) <= LARGEST_FRAME:
                    connection.queue.push_data(frame(payload))
                else:
                    self.send_errors[SendError.TOO_LARGE] += 1
            connection.is_proven = True
            self._flush(connection)  # if it has ended, that is the next thing to be read from it
        batch.clear()
        return True

    def forget_routes(self) -> None:
        """Do nothing: each new connection asks for its way."""

    def close(self) -> None:
        """Close everything; whoever waits on it gets trio.ClosedResourceError. Closing twice is harmless."""
        if self._is_closed:
            return
        self._is_closed = True
        if trio.lowlevel.in_trio_run():
            trio.lowlevel.notify_closing(self._epoll.fileno())
        for connection in list(self._connections.values()):
            self._remove(connection)
        if self._listener is not None:
            self._listener.close()
        self._epoll.close()

    def __enter__(self) -> TcpBase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- sending ------------------------------------------------------------------------------------------------------

    def _send(self, payload: bytes | bytearray | memoryview, destination: Endpoint) -> SendError | None:
        if self._is_closed:
            return SendError.SOURCE_GONE
        if len(payload) > LARGEST_FRAME:
            return SendError.TOO_LARGE
        is_check = classify(payload[0]) is DatagramKind.STUN
        connection = self._connections.get(destination) or (self._open(destination) if is_check else None)
        if not isinstance(connection, Connection):
            return connection or SendError.UNREACHABLE
        (connection.queue.push_check if is_check else connection.queue.push_data)(frame(payload))
        if not is_check or payload[0] == 0:  # a request; the types of answers begin with 1, RFC 8489 5
            connection.is_proven = True
        error = self._flush(connection)
        if error is not None:
            self._remove(connection)
        return error

    def _open(self, destination: Endpoint) -> Connection | SendError:
        if self.tcp_type is TcpType.PASSIVE or destination.address.version != self.local.address.version:
            return SendError.UNREACHABLE
        if len(self._connections) >= MAX_CONNECTIONS:
            return SendError.NO_BUFFERS
        port = self.local.port if self.tcp_type is TcpType.SIMULTANEOUS_OPEN else 0
        sock, now = connect(self.local, port, destination, self._options), trio.current_time()
        if sock is SendError.SOURCE_GONE and self._listener is not None:
            self._accept(self._listener, now)  # the other side was first, and its connection takes both ports
            return self._connections.get(destination, SendError.WOULD_BLOCK)
        return sock if isinstance(sock, SendError) else self._add(Connection(sock, destination, False, now))

    def _flush(self, connection: Connection) -> SendError | None:
        """Send what waits; what is too much for now is dropped, what remains goes on when the stream has room."""
        connection.record_use(trio.current_time())
        error = connection.flush()
        dropped = connection.queue.trim()
        if dropped:
            self.send_errors[SendError.WOULD_BLOCK] += dropped
        self._watch(connection)
        return error

    def _watch(self, connection: Connection) -> None:
        """Let epoll tell when the stream has room, as long as something waits for it."""
        is_waiting = connection.wants_room
        if is_waiting is not connection.is_watched:
            connection.is_watched = is_waiting
            self._epoll.modify(connection, _READ_WRITE if is_waiting else select.EPOLLIN)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _serve(self, connection: Connection, events: int, batch: Batch, sources: list[Endpoint], now: float) -> None:
        if not connection.is_connected:
            error = connection.connect_error()
            if error is not None:
                self._lose(connection, error)
                return
        if events & select.EPOLLOUT:
            error = self._flush(connection)
            if error is not None:
                self._lose(connection, error)
                return
        if events & ~select.EPOLLOUT:
            self._read(connection, batch, sources, now)

    def _read(self, connection: Connection, batch: Batch, sources: list[Endpoint], now: float) -> None:
        """Read whole frames; when `batch` has no room for the largest, epoll will tell of this connection again."""
        start = batch.end
        if batch.buffer.size - start < HEADER_SIZE + LARGEST_FRAME:
            return
        room = READ_SIZE if connection.is_proven else len(connection.rest) + INTRUDER_READ_SIZE
        end = connection.receive(batch.buffer.view[start : start + room])
        if isinstance(end, SendError):
            self._lose(connection, end)
            return
        end += start
        spans, rest = split_frames(batch.buffer.view, start, end)
        connection.rest = bytes(batch.buffer.view[rest:end])
        problem = _intrusion(connection, batch.buffer.view, spans)
        if problem:
            self._refuse(connection, problem)
            return
        for span in spans:
            if span[0] == span[1]:
                self.receive_errors["empty"] += 1
                continue
            batch.spans.append(span)
            sources.append(connection.remote)
        connection.has_spoken |= bool(spans)
        connection.record_use(now)

    def _accept(self, listener: socket.socket, now: float) -> None:
        try:
            sock, sockaddr = listener.accept()
        except OSError as error:
            if error.errno in _MISSING_DESCRIPTORS:
                self._turn_deaf(listener, now)
            return  # else it ended before we came to it
        sock.setblocking(False)
        connection = Connection(sock, _tcp_endpoint(sockaddr), True, now)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._refuse(connection, "too many connections")
            return
        self._add(connection)
        self._bound_intruders(connection)

    def _bound_intruders(self, newest: Connection) -> None:
        intruders = [each for each in self._connections.values() if not each.is_proven]
        network = _network_of(newest.remote.address)
        if sum(each.remote.address in network for each in intruders) > MAX_INTRUDERS_PER_ADDRESS:
            self._refuse(newest, "too many connections from one address")
        elif len(intruders) > MAX_INTRUDERS:
            self._refuse(intruders[0], "too many connections without a check")

    def _turn_deaf(self, listener: socket.socket, now: float) -> None:
        """Leave new connections waiting for a moment: without a descriptor for them, they would keep us awake."""
        self.receive_errors["no descriptors"] += 1
        self._epoll.modify(listener, 0)
        self._sweep_at = min(self._sweep_at, now + DEAF_TIME)

    def _sweep(self, now: float) -> None:
        """Close what is idle and who said nothing; listen again."""
        for connection in [each for each in self._connections.values() if each.expires_at <= now]:
            if connection.is_proven:
                self._remove(connection)
            else:
                self._refuse(connection, "connections without a check")
        if self._listener is not None:
            self._epoll.modify(self._listener, select.EPOLLIN)
        self._sweep_at = min((each.expires_at for each in self._connections.values()), default=math.inf)

    # -- the table of connections -------------------------------------------------------------------------------------

    def _add(self, connection: Connection) -> Connection:
        stale = self._connections.get(connection.remote)
        if stale is not None:
            self._remove(stale)  # of the same two ports: it has ended, though we haven't heard yet
        self._connections[connection.remote] = connection
        self._by_descriptor[connection.fileno()] = connection
        self._epoll.register(connection, _READ_WRITE if connection.is_watched else select.EPOLLIN)
        self._sweep_at = min(self._sweep_at, connection.expires_at)
        return connection

    def _lose(self, connection: Connection, error: SendError) -> None:
        """Close a connection that has ended, and say so if anybody relied on it."""
        self._remove(connection)
        if connection.is_proven:
            self._failures.append((connection.remote, error))

    def _refuse(self, connection: Connection, reason: str) -> None:
        self.receive_errors[reason] += 1
        self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        if self._connections.get(connection.remote) is connection:
            del self._connections[connection.remote]
        if self._by_descriptor.pop(connection.fileno(), None) is not None:
            self._epoll.unregister(connection)
        connection.close()


# -- what connections say, and what the kernel does -------------------------------------------------------------------


def _intrusion(connection: Connection, view: memoryview, spans: list[tuple[int, int]]) -> str:
    """Say what is wrong with the frames of one that nobody knows yet; nothing is wrong with those of others."""
    if connection.is_proven:
        return ""
    if any(end - start > LARGEST_INTRUSION for start, end in spans) or len(connection.rest) > LARGEST_INTRUSION:
        return "frame of a stranger that is too long"
    if spans and not connection.has_spoken and not is_stun(bytes(view[slice(*spans[0])])):
        return "connections that don't begin with STUN"
    return ""


def _network_of(address: IPAddress) -> IPNetwork | tuple[IPAddress]:
    """Give the addresses that one machine may have: a /64 with IPv6."""
    if isinstance(address, IPv6Address):
        return IPv6Network((int(address) >> 64 << 64, 64))
    return (address,)


def _tcp_endpoint(sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    return replace(endpoint_of(sockaddr), transport=Transport.TCP)
