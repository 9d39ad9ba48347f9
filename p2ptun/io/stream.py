"""TCP connections that carry frames, and how their sockets are set up."""

from __future__ import annotations

import socket

from p2ptun.io.refusal import send_error
from p2ptun.io.send_queue import SendQueue
from p2ptun.io.sockaddr import sockaddr_of
from p2ptun.io.socket_options import SocketOptions, confine, set_mark
from p2ptun.types import Endpoint, SendError

CONNECT_REPETITIONS = 2
"""SYNs repeated (TCP_SYNCNT), after 1 and 3 seconds: after 7 in all, nobody is there."""

STUCK_TIMEOUT = 10.0
"""Seconds after which a connection that acknowledges nothing is given up (TCP_USER_TIMEOUT): a new one starts faster
than an old one wakes whose repetitions have become rare."""

UNSENT_IN_KERNEL = 1 << 16
"""Bytes that the kernel takes beyond what is on its way (TCP_NOTSENT_LOWAT): STUN overtakes only what it hasn't."""

_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h
_TCP_NOTSENT_LOWAT = 25  # linux/tcp.h: in Python's socket module from 3.12 on


class Stream:
    """One connection, opened or under way, and the frames that wait for it. Nothing in it blocks or raises.

    Attributes:
        rest: The beginning of a frame of which more has to come.
        problem: Why it has ended, for people, where there is more to say than a `SendError` does.
        is_connected: Whether the handshake of TCP is over.
    """

    def __init__(self, sock: socket.socket, is_connected: bool = False) -> None:
        self.socket = sock
        self.queue = SendQueue()
        self.rest = b""
        self.problem = ""
        self.is_connected = is_connected
        self._descriptor = sock.fileno()

    def fileno(self) -> int:
        """Return the descriptor, also after the end."""
        return self._descriptor

    @property
    def is_ready(self) -> bool:
        """Tell whether frames can go."""
        return self.is_connected

    @property
    def wants_room(self) -> bool:
        """Tell whether something waits for room in the stream, or for the end of the handshake of TCP."""
        return bool(self.queue) or not self.is_connected

    async def prepare(self) -> SendError | None:
        """Get what has to be waited for, which is nothing here; called again and again, as long as it is read."""
        return None

    def connect_error(self) -> SendError | None:
        """Learn how connecting ended."""
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            return send_error(number)
        self.is_connected = True
        return None

    def flush(self) -> SendError | None:
        """Let the stream take what waits, as much as it does; say why when it has ended."""
        try:
            while self.queue and self.is_connected:
                self.queue.consume(self.socket.sendmsg(self.queue.head()))
        except BlockingIOError:
            pass
        except OSError as error:
            return send_error(error.errno)
        return None

    def receive(self, view: memoryview) -> int | SendError:
        """Read into `view`, after the rest of the last time; return how much there is now, or why no more comes."""
        held = len(self.rest)
        view[:held] = self.rest
        try:
            size = self.socket.recv_into(view[held:])
        except BlockingIOError:
            return held
        except OSError as error:
            return send_error(error.errno)
        return held + size if size else SendError.REFUSED

    def close(self) -> None:
        """Close the socket; twice is harmless."""
        self.socket.close()


def open_stream(family: socket.AddressFamily, options: SocketOptions, is_shared: bool = False) -> socket.socket:
    """Open a non-blocking TCP socket; `is_shared` lets others of ours be bound to the same port. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4-mapped sources never occur
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections of the port hinder nobody
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, CONNECT_REPETITIONS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK_TIMEOUT * 1000))
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_IN_KERNEL)
        set_mark(sock, options.fwmark)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(base: Endpoint, port: int, destination: Endpoint, options: SocketOptions) -> socket.socket | SendError:
    """Begin to connect from the address of a base, or say why not; `port` 0 lets the kernel choose ours."""
    family = socket.AF_INET if base.address.version == 4 else socket.AF_INET6
    try:
        sock = open_stream(family, options, is_shared=port != 0)
    except OSError as error:
        return send_error(error.errno)
    problem = _connect(sock, base, port, destination, options)
    if problem is not None:
        sock.close()
    return problem or sock


def _connect(
    sock: socket.socket, base: Endpoint, port: int, destination: Endpoint, options: SocketOptions
) -> SendError | None:
    try:
        if port == 0:  # the kernel chooses while it connects, one that is free for this destination
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(sockaddr_of(Endpoint(base.address, port)))
        is_confined = confine(sock, options.interface)
        if not is_confined and options.guard is not None and options.guard.refuses(base, destination):
            return SendError.THROUGH_TUNNEL
        sock.connect(sockaddr_of(destination, base))
    except BlockingIOError:  # under way
        return None
    except OSError as error:
        return send_error(error.errno)
    return None
