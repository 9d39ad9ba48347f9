"""A socket to a TURN server over TCP or TLS: frames both ways, never blocking."""

from __future__ import annotations

import logging
import math
import select
from collections import Counter

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate_type import TcpType
from p2ptun.io.sockaddr import endpoint_of
from p2ptun.io.socket_options import SocketOptions, is_confined
from p2ptun.io.stream import Stream
from p2ptun.io.turn_framing import LARGEST_TURN_FRAME, split_turn_frames
from p2ptun.node.demux import DatagramKind, classify
from p2ptun.signal.text import printable
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError

SETUP_TIMEOUT = 10.0
"""Seconds for the handshakes of TCP and TLS: longer than SYNs are repeated."""

READ_SIZE = 1 << 17  # bytes read before others have their turn

_READ_WRITE = select.EPOLLIN | select.EPOLLOUT

logger = logging.getLogger(__name__)


class ServerStream:
    """The connection of one allocation. What is sent before it is up waits, and what is too much is dropped.

    The socket is watched by an epoll of its own, which is one descriptor to wait for, be it to read, to send what has
    waited, or to shake hands. A connection that has ended stays so; its failure is told once, by `next_failure`, or by
    the `send` that met it.
    """

    tcp_type: TcpType | None = None

    def __init__(self, token: Endpoint, server: Server, stream: Stream, options: SocketOptions) -> None:
        """Take over a stream that is being connected; `token` is its name in the core."""
        self.local = token
        self.server = server
        self.bound = endpoint_of(stream.socket.getsockname())
        self.send_errors: Counter[SendError] = Counter()
        self.receive_errors: Counter[str] = Counter()
        self._stream = stream
        self._guard = None if is_confined(stream.socket) else options.guard
        self._epoll = select.epoll()
        self._epoll.register(stream, _READ_WRITE)
        self._is_watched = True
        self._end: SendError | None = None
        self._is_told = False
        self._has_spoken = False
        self._deadline = trio.current_time() + SETUP_TIMEOUT
        self._waiting = trio.CancelScope()

    @property
    def problem(self) -> str:
        """Why the connection has ended, for people, where there is more to say than the error does; else empty."""
        return self._stream.problem

    @property
    def is_closed(self) -> bool:
        """Tell whether it was closed by its owner."""
        return self._epoll.closed

    async def wait_readable(self) -> None:
        """Wait until `receive_batch` has something to do, or `next_failure` something to tell.

        Raises:
            trio.ClosedResourceError: If it is closed before or meanwhile.
        """
        if self._end is None:
            error = await self._stream.prepare()
            if error is not None:
                self.lose(error)
        if self._epoll.closed:
            raise trio.ClosedResourceError
        if self._end is not None and not self._is_told:
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(deadline=self._deadline) as self._waiting:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    async def wait_writable(self) -> None:
        """Return at once: what the stream doesn't take is dropped, the oldest first."""
        await trio.lowlevel.checkpoint()

    def receive_batch(self, batch: Batch, sources: list[Endpoint]) -> int:
        """Do what is due; read frames into `batch` after what it holds, padding left out, and return how many."""
        before = len(sources)
        for _, events in self._epoll.poll(0, 1):
            self._serve(events, batch, sources)
        if trio.current_time() >= self._deadline:
            self.lose(SendError.TIMED_OUT)
        return len(sources) - before

    def next_failure(self) -> tuple[Endpoint, SendError] | None:
        """Give the server and why the connection has ended, once."""
        if self._end is None or self._is_told:
            return None
        self._is_told = True
        return self.server.endpoint, self._end

    def send(self, payload: bytes | bytearray | memoryview, destination: Endpoint) -> SendError | None:
        """Send one frame to the server, or let it wait; else say why not (counted too)."""
        if self._end is None:
            is_check = classify(payload[0]) is DatagramKind.STUN
            (self._stream.queue.push_check if is_check else self._stream.queue.push_data)(bytes(payload))
            self._flush()
            self._is_told |= self._end is not None
        if self._end is not None:
            self.send_errors[self._end] += 1
        return self._end

    def send_batch(self, batch: Batch, destination: Endpoint) -> bool:
        """Send the frames of `batch`, all of them data; always True, for what the stream doesn't take waits here."""
        if self._end is None:
            for payload in batch:
                self._stream.queue.push_data(bytes(payload))
            self._flush()
        else:
            self.send_errors[self._end] += len(batch)
        batch.clear()
        return True

    def forget_routes(self) -> None:
        """Ask anew whether the way to the server leads into a tunnel: the network has changed."""
        if self._guard is not None and self._end is None and self._guard.refuses(self.bound, self.server.endpoint):
            self.lose(SendError.THROUGH_TUNNEL)

    def lose(self, error: SendError) -> None:
        """Give the connection up; whoever reads it is told why."""
        if self._end is not None:
            return
        logger.debug("%s: %s %s", printable(str(self.server)), error.value, self.problem)
        self._end, self._deadline = error, math.inf
        self._epoll.unregister(self._stream)
        self._stream.close()
        self._waiting.cancel()

    def close(self) -> None:
        """Close it; whoever waits on it gets trio.ClosedResourceError. Closing twice is harmless."""
        if self._epoll.closed:
            return
        if trio.lowlevel.in_trio_run():
            trio.lowlevel.notify_closing(self._epoll.fileno())
        self._stream.close()
        self._epoll.close()

    def _serve(self, events: int, batch: Batch, sources: list[Endpoint]) -> None:
        error = None if self._stream.is_connected else self._stream.connect_error()
        if error is None and events & ~select.EPOLLOUT:
            error = self._read(batch, sources)
        if error is None:
            self._flush()
        else:
            self.lose(error)

    def _flush(self) -> None:
        """Send what waits; what is too much for now is dropped, what remains goes on when the stream has room."""
        error = self._stream.flush()
        dropped = self._stream.queue.trim()
        if dropped:
            self.send_errors[SendError.WOULD_BLOCK] += dropped
        if error is not None:
            self.lose(error)
            return
        if self._stream.is_ready:
            self._deadline = math.inf
        if self._stream.wants_room is not self._is_watched:
            self._is_watched = self._stream.wants_room
            self._epoll.modify(self._stream, _READ_WRITE if self._is_watched else select.EPOLLIN)

    def _read(self, batch: Batch, sources: list[Endpoint]) -> SendError | None:
        """Read whole frames; when `batch` has no room for all that may come, epoll will tell of it again."""
        start, view = batch.end, batch.buffer.view
        if len(view) - start < LARGEST_TURN_FRAME + READ_SIZE:
            return None
        end = self._stream.receive(view[start : start + len(self._stream.rest) + READ_SIZE])
        if isinstance(end, SendError):
            return end
        end += start
        try:
            spans, rest = self._split(view, start, end)
        except MalformedPacket as error:
            self.receive_errors["malformed"] += 1
            self._stream.problem = f"{printable(self.server.name)} is no TURN server: {error}."
            return SendError.REFUSED
        self._has_spoken |= bool(spans)
        self._stream.rest = bytes(view[rest:end])
        batch.spans.extend(spans)
        sources.extend([self.server.endpoint] * len(spans))
        return None

    def _split(self, view: memoryview, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
        """Find the frames. The first is STUN, for channels come later; "HTTP" would pass for the begin of ChannelData.

        Raises:
            MalformedPacket: If this is no stream of a TURN server.
        """
        if not self._has_spoken and start < end and classify(view[start]) is not DatagramKind.STUN:
            raise MalformedPacket("what it says doesn't begin with STUN")
        return split_turn_frames(view, start, end)
