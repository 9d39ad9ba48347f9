"""A UDP socket of the server: a listener, or what an allocation has towards its peers."""

from __future__ import annotations

import errno
import socket
from collections import Counter

from p2ptun.io.mmsg import NO_ERROR, SLOTS, Name, Outbox
from p2ptun.io.offload import enable_coalescing, has_segmentation
from p2ptun.io.rawaddr import encode_name, name_size, read_name
from p2ptun.io.refusal import bind_error, send_error
from p2ptun.io.sockaddr import endpoint_of, sockaddr_of
from p2ptun.io.socket_options import SocketOptions, open_socket
from p2ptun.types import Endpoint, SendError

MAX_CACHED_NAMES = 1024
"""Addresses remembered per socket and direction. A flood of forged sources costs a refill, not memory."""

JOINED_SLOTS = 8
"""Messages taken at once when the kernel joins datagrams: each may be 64 KiB, and what leaves the cache is slow."""


class UdpPort:
    """A bound UDP socket and what is known about it.

    Attributes:
        limit: How many messages one call takes.
        is_relay: Whether peers talk to it, not clients.
        lost: What couldn't be sent, by reason.
    """

    def __init__(self, sock: socket.socket, is_relay: bool) -> None:
        """Take over a bound, non-blocking socket; `open_port` makes one."""
        self.local = endpoint_of(sock.getsockname())
        self.descriptor = sock.fileno()
        self.name_size = name_size(self.local.address.version)
        self.is_relay = is_relay
        self.limit = SLOTS
        self.lost: Counter[SendError] = Counter()
        self.has_segmentation = has_segmentation(sock)
        enable_coalescing(sock)
        self._socket = sock
        self._sources: dict[bytes, Endpoint] = {}
        self._names: dict[Endpoint, Name | None] = {}

    def source(self, name: bytes) -> Endpoint:
        """Give the endpoint of a name that the kernel wrote."""
        found = self._sources.get(name)
        if found is None:
            if len(self._sources) >= MAX_CACHED_NAMES:
                self._sources.clear()
            found = self._sources[name] = read_name(name)
        return found

    def name(self, destination: Endpoint) -> Name | None:
        """Give a destination as the kernel has it; None for one that can't be reached from this socket."""
        if destination in self._names:
            return self._names[destination]
        if len(self._names) >= MAX_CACHED_NAMES:
            self._names.clear()
        found = self._names[destination] = self._encode(destination)
        return found

    def send(self, payload: bytes | memoryview, destination: Endpoint) -> None:
        """Send one datagram; one that the kernel refuses is lost and counted."""
        if destination.address.version != self.local.address.version:
            self.lost[SendError.UNREACHABLE] += 1
            return
        try:
            self._socket.sendto(payload, sockaddr_of(destination, self.local))
        except OSError as error:
            self.lost[send_error(error.errno)] += 1

    def send_run(self, outbox: Outbox, name: Name, count: int, pieces: int, size: int) -> None:
        """Send the first `count` datagrams of `outbox`, all of `size` bytes but the last, which may be shorter."""
        if count > 1 and size and self.has_segmentation:
            number = outbox.send_segmented(self.descriptor, name, count, pieces, size)
            if number == NO_ERROR:
                return
            if number == errno.EAGAIN:
                self.lost[SendError.WOULD_BLOCK] += count
                return
            if number == errno.EIO:  # this network card can't sum what it would have to split: never again
                self.has_segmentation = False
        # one by one: each may need fragments, or has an error of its own
        for number, lost in outbox.send_each(self.descriptor, name, count, pieces).items():
            self.lost[send_error(number)] += lost

    def adapt(self, has_joined: bool) -> None:
        """Take as many messages next time as fits what came this time."""
        self.limit = JOINED_SLOTS if has_joined else SLOTS

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        self._socket.close()

    def _encode(self, destination: Endpoint) -> Name | None:
        if destination.address.version != self.local.address.version:
            return None
        try:
            return Name(encode_name(destination, self.local))
        except OSError:  # no interface has the zone's name
            return None


def open_port(local: Endpoint, is_relay: bool) -> UdpPort:
    """Open a UDP socket on an address and port of this machine.

    Raises:
        DeviceError: If the kernel refuses, with the remedy.
    """
    try:
        return UdpPort(open_socket(local, SocketOptions()), is_relay)
    except OSError as error:
        raise bind_error(local, error) from error
