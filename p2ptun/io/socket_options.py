"""How sockets are set up: what is asked of the kernel before the first datagram. (TCP has more: `connection`.)"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from enum import Enum

from p2ptun.io.guard import RouteGuard
from p2ptun.io.sockaddr import sockaddr_of
from p2ptun.types import Endpoint

SOCKET_BUFFER_SIZE = 4 << 20
"""Bytes (the kernel counts twice that): what arrives at 1 Gb/s in 30 ms, the longest we let others have the CPU."""

# linux/in.h, linux/in6.h, asm-generic/socket.h: not in Python's socket module
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_NAME_SIZE = 16  # IFNAMSIZ, linux/if.h

logger = logging.getLogger(__name__)


class Fragmentation(Enum):
    """What happens to a datagram larger than the path takes. The values are those of linux/in.h.

    ALLOWED (IP_PMTUDISC_WANT): the kernel learns the path MTU from ICMP and splits what is larger. Full-sized packets
    get through on every path, at the cost of two datagrams each: the default, as long as nobody measures the path.
    FORBIDDEN (IP_PMTUDISC_PROBE): every datagram says "don't fragment", and ICMP, which anybody can forge, is ignored.
    For who measures the path by probes of its own (RFC 8899 4.6).
    """

    ALLOWED = 1
    FORBIDDEN = 3


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How a socket is set up.

    `interface` (SO_BINDTODEVICE) and `fwmark` (SO_MARK, which needs CAP_NET_ADMIN) keep our packets out of our own
    routes: a peer may offer the very network in which its address lies. What the kernel refuses of them is left out.
    `guard` is asked about each new destination when the socket isn't confined to an interface. `fragmentation` and
    `buffer_size` are for UDP alone.
    """

    interface: str | None = None
    fwmark: int | None = None
    fragmentation: Fragmentation = Fragmentation.ALLOWED
    buffer_size: int = SOCKET_BUFFER_SIZE
    guard: RouteGuard | None = None


DEFAULT_OPTIONS = SocketOptions()


def open_socket(local: Endpoint, options: SocketOptions) -> socket.socket:
    """Open and bind a non-blocking socket. Raises OSError."""
    family = socket.AF_INET if local.address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4-mapped sources never occur
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, options.fragmentation.value)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, options.fragmentation.value)
        _set_buffer(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, options.buffer_size)
        _set_buffer(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF, options.buffer_size)
        sock.bind(sockaddr_of(local))
    except BaseException:
        sock.close()
        raise
    return sock


def _set_buffer(sock: socket.socket, forced: int, plain: int, size: int) -> None:
    """Set a buffer's size beyond the system's limit where we may (CAP_NET_ADMIN), else up to it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)


def confine(sock: socket.socket, interface: str | None) -> bool:
    """Send and receive over one interface only; False when there is none to name or the kernel refuses."""
    if interface is None:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    except OSError as error:
        logger.debug("%s is not confined to %s: %s", sock.getsockname(), interface, error)
        return False
    return True


def is_confined(sock: socket.socket) -> bool:
    """Tell whether `confine` has been done to a socket."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _NAME_SIZE) != b""


def set_mark(sock: socket.socket, fwmark: int | None) -> bool:
    """Mark what is sent; False when there is no mark to set or the kernel refuses."""
    if fwmark is None:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, fwmark)
    except PermissionError:
        logger.warning("packets can't be marked without CAP_NET_ADMIN: a default route into the tunnel would loop")
        return False
    return True
