"""UDP sockets: one per local address, never blocking, in batches.

A socket is bound to one address, so that every answer leaves from the address its request came to, and a candidate's
base is a socket. What the network refuses is a `SendError`, returned and counted; nothing here raises while running.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Sequence

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.errors import DeviceError
from p2ptun.io.offload import MAX_SEGMENTED_SIZE, MAX_SEGMENTS, UDP_SEGMENT, has_segmentation
from p2ptun.io.refusal import bind_error, send_error
from p2ptun.io.sockaddr import SockAddr, endpoint_of, sockaddr_of
from p2ptun.io.socket_options import DEFAULT_OPTIONS, SocketOptions, confine, open_socket, set_mark
from p2ptun.types import Endpoint, IPAddress, SendError

DATAGRAMS_PER_WAKE = 64
"""Datagrams taken before trio gets its turn: keeps ICE and control alive under load."""

LARGEST_DATAGRAM = 65535
MAX_CACHED_ENDPOINTS = 1024
"""Addresses remembered per socket. A flood of forged sources costs a refill of the cache, not memory."""


class UdpSocket:
    """One UDP socket, bound to one local address.

    `send_errors` and `receive_errors` count what was lost, and why. A receive error is either a pending ICMP error (by
    the name of its errno), which says nothing of the datagrams behind it, or `truncated`.
    """

    def __init__(self, sock: socket.socket, options: SocketOptions) -> None:
        """Take over a bound, non-blocking socket; `bind` makes one."""
        self.send_errors: Counter[SendError] = Counter()
        self.receive_errors: Counter[str] = Counter()
        self.options = options
        self.is_marked = set_mark(sock, options.fwmark)
        self.is_confined = confine(sock, options.interface)
        self._guard = None if self.is_confined else options.guard
        self._socket = sock
        self._has_segmentation = has_segmentation(sock)
        self._failure: tuple[Endpoint, SendError] | None = None
        self._sources: dict[SockAddr, Endpoint] = {}
        self._destinations: dict[Endpoint, SockAddr | SendError] = {}
        self.local = self.bound = endpoint_of(sock.getsockname())
        self.tcp_type = None

    @classmethod
    async def bind(cls, local: Endpoint, options: SocketOptions = DEFAULT_OPTIONS) -> UdpSocket:
        """Open a socket on an address and port of this machine; port 0 lets the kernel choose.

        It waits for nothing and is a checkpoint, as trio's own `bind`.

        Raises:
            DeviceError: If the kernel refuses, with the remedy.
        """
        await trio.lowlevel.checkpoint()
        try:
            return cls(open_socket(local, options), options)
        except OSError as error:
            raise bind_error(local, error) from error

    @classmethod
    async def bind_in_range(
        cls, address: IPAddress, ports: Sequence[int], options: SocketOptions = DEFAULT_OPTIONS
    ) -> UdpSocket:
        """Open a socket on the first port of `ports` that is free on `address`.

        Raises:
            DeviceError: If none is.
        """
        for port in ports:
            try:
                return await cls.bind(Endpoint(address, port), options)
            except DeviceError as error:
                if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EADDRINUSE:
                    raise
        raise DeviceError(
            f"All ports from {ports[0]} to {ports[-1]} are in use on {address}."
            if ports
            else "The port range is empty.",
            "Choose other ports, or 0 for any that is free.",
        )

    @property
    def is_closed(self) -> bool:
        """Tell whether it was closed."""
        return self._socket.fileno() < 0

    @property
    def has_segmentation(self) -> bool:
        """Tell whether one call sends many datagrams (UDP_SEGMENT, Linux 4.18)."""
        return self._has_segmentation

    async def wait_readable(self) -> None:
        """Wait until a datagram is there.

        Raises:
            trio.ClosedResourceError: If the socket is closed before or meanwhile.
        """
        await trio.lowlevel.wait_readable(self._descriptor())

    async def wait_writable(self) -> None:
        """Wait until a full socket takes datagrams again.

        Raises:
            trio.ClosedResourceError: If the socket is closed before or meanwhile.
        """
        await trio.lowlevel.wait_writable(self._descriptor())

    def receive_batch(self, batch: Batch, sources: list[Endpoint]) -> int:
        """Read the datagrams that are waiting, straight into `batch` after what it holds; return how many.

        Their sources go to the end of `sources`, in step with the spans. At most DATAGRAMS_PER_WAKE, and after the
        first only while the largest possible one fits; one that is cut short is dropped and counted.
        """
        view = batch.buffer.view
        end = first_end = batch.end
        before = len(sources)
        for _ in range(DATAGRAMS_PER_WAKE):
            if end > first_end and len(view) - end < LARGEST_DATAGRAM:
                break
            try:
                size, sockaddr = self._socket.recvfrom_into(view[end:], 0, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            except OSError as error:
                # an ICMP error for something sent earlier; reading it clears it, and the datagrams behind it are good
                self.receive_errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1
                continue
            if not 0 < size <= len(view) - end:
                self.receive_errors["truncated" if size else "empty"] += 1
                continue
            batch.spans.append((end, end + size))
            sources.append(self._sources.get(sockaddr) or self._remember_source(sockaddr))
            end += size
        return len(sources) - before

    def next_failure(self) -> tuple[Endpoint, SendError] | None:
        """Give where a datagram of a batch couldn't be sent, and why; the last such failure, once."""
        failure, self._failure = self._failure, None
        return failure

    def send(self, payload: bytes | bytearray | memoryview, destination: Endpoint) -> SendError | None:
        """Send one datagram; None when the kernel took it, else why not (counted too)."""
        error = self._send_datagram(payload, self._sockaddr_of(destination))
        if error is not None:
            self.send_errors[error] += 1
        return error

    def send_batch(self, batch: Batch, destination: Endpoint) -> bool:
        """Send the datagrams of `batch`; those sent, or lost and counted, leave it. True when none is left.

        False means that the socket is full: await `wait_writable`, then call again with the same batch.
        Runs of datagrams of one size (the last may be shorter) go to the kernel in one call where it can split them.
        """
        view, spans = batch.buffer.view, batch.spans
        sockaddr = self._sockaddr_of(destination)
        can_segment = self._has_segmentation
        done = 0
        while done < len(spans):
            count = _run_length(spans, done) if can_segment else 1
            if count > 1:
                error = self._send_segments(view, spans[done : done + count], sockaddr)
            else:
                start, end = spans[done]
                error = self._send_datagram(view[start:end], sockaddr)
            if error is SendError.WOULD_BLOCK:
                break
            if error is not None and count > 1:
                can_segment = False  # one by one then: each may need fragments, or has an error of its own
                continue
            if error is not None:
                self.send_errors[error] += 1
                self._failure = destination, error
            done += count
        del spans[:done]
        return not spans

    def forget_routes(self) -> None:
        """Ask anew which way datagrams go: the network has changed."""
        self._destinations.clear()

    def close(self) -> None:
        """Close the socket; whoever waits on it gets trio.ClosedResourceError. Closing twice is harmless."""
        descriptor = self._socket.fileno()
        if descriptor >= 0:
            if trio.lowlevel.in_trio_run():
                trio.lowlevel.notify_closing(descriptor)
            self._socket.close()

    def __enter__(self) -> UdpSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _descriptor(self) -> int:
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError
        return descriptor

    def _send_datagram(
        self, payload: bytes | bytearray | memoryview, sockaddr: SockAddr | SendError
    ) -> SendError | None:
        if isinstance(sockaddr, SendError):
            return sockaddr
        try:
            self._socket.sendto(payload, sockaddr)
        except OSError as error:
            return send_error(error.errno)
        return None

    def _send_segments(
        self, view: memoryview, spans: list[tuple[int, int]], sockaddr: SockAddr | SendError
    ) -> SendError | None:
        """Send datagrams of one size by one call (UDP_SEGMENT). All of them went, or none."""
        if isinstance(sockaddr, SendError):
            return sockaddr
        start, end = spans[0]
        size = struct.pack("=H", end - start)
        payload = [view[start : spans[-1][1]]] if _is_contiguous(spans) else [view[start:end] for start, end in spans]
        try:
            self._socket.sendmsg(payload, [(socket.SOL_UDP, UDP_SEGMENT, size)], 0, sockaddr)
        except OSError as error:
            if error.errno == errno.EIO:  # this network card can't sum what it would have to split: never again
                self._has_segmentation = False
            return send_error(error.errno)
        return None

    def _remember_source(self, sockaddr: SockAddr) -> Endpoint:
        if len(self._sources) >= MAX_CACHED_ENDPOINTS:
            self._sources.clear()
        endpoint = self._sources[sockaddr] = endpoint_of(sockaddr)
        return endpoint

    def _sockaddr_of(self, destination: Endpoint) -> SockAddr | SendError:
        """Return the kernel's form of `destination`, or why nothing may or can go there from this socket."""
        known = self._destinations.get(destination)
        if known is not None:
            return known
        if len(self._destinations) >= MAX_CACHED_ENDPOINTS:
            self._destinations.clear()
        found = self._destinations[destination] = self._judge(destination)
        return found

    def _judge(self, destination: Endpoint) -> SockAddr | SendError:
        if destination.address.version != self.bound.address.version:
            return SendError.UNREACHABLE
        try:
            sockaddr = sockaddr_of(destination, self.bound)
        except OSError:  # no interface has the zone's name
            return SendError.UNREACHABLE
        if self._guard is not None and self._guard.refuses(self.bound, destination):
            return SendError.THROUGH_TUNNEL
        return sockaddr


# -- runs of datagrams ------------------------------------------------------------------------------------------------


def _run_length(spans: list[tuple[int, int]], first: int) -> int:
    """Count the datagrams from `first` on that one segmented send carries: of one size, the last may be shorter."""
    start, end = spans[first]
    size = end - start
    if size == 0:
        return 1
    limit = min(len(spans), first + MAX_SEGMENTS, first + max(1, MAX_SEGMENTED_SIZE // size))
    position = first + 1
    while position < limit:
        start, end = spans[position]
        if end - start != size:
            return position - first + (0 < end - start < size)
        position += 1
    return position - first


def _is_contiguous(spans: list[tuple[int, int]]) -> bool:
    """Tell whether the datagrams of a run lie next to each other: spans rise and don't overlap, so sizes decide."""
    (start, end), last = spans[0], spans[-1]
    return last[0] - start == (end - start) * (len(spans) - 1)
