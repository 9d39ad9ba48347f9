"""One client's stream, TCP or TLS: frames in, frames out, and what both may cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import trio

from p2ptun.errors import MalformedPacket
from p2ptun.io.send_queue import SendQueue
from p2ptun.io.stream import STUCK_TIMEOUT
from p2ptun.stun.stream import StreamSplitter
from p2ptun.stun.turn import is_channel_data, measure_turn
from p2ptun.types import Endpoint, Transport

IDLE_TIMEOUT = 30.0  # seconds without a whole frame, for who has no allocation; the core ends allocations by itself
HANDSHAKE_TIMEOUT = 10.0  # seconds; slow phones on bad networks need three
LARGEST_OF_STRANGER = 4096  # bytes of a frame from one without an allocation: no request comes near
READ_SIZE = 1 << 16
FRAMES_PER_TURN = 64
"""Frames of one stream that are taken before UDP, and other streams, have their turn: as many as of UDP."""

WRITE_SIZE = {Transport.TCP: 1 << 14, Transport.TLS: 0}
"""Bytes of frames that are written as one: STUN overtakes only what isn't on its way. TLS gets a record for each frame,
since there are clients, coturn's among them, that read a single frame out of a record."""

FrameHandler: TypeAlias = Callable[["Connection", bytes], None]


class Connection:
    """A stream between `remote` and our listener `local`.

    Attributes:
        dropped: How many frames it was too slow for.
        problem: Why we ended it; empty when the client did.
    """

    def __init__(self, stream: trio.abc.Stream, remote: Endpoint, local: Endpoint) -> None:
        self.remote = remote
        self.local = local
        self.dropped = 0
        self.problem = ""
        self._stream = stream
        self._queue = SendQueue()
        self._has_allocation = False
        self._splitter = StreamSplitter(self._measure)
        self._news = trio.Event()
        self._scope = trio.CancelScope()
        self._handshake = trio.CancelScope()
        self._idle = trio.CancelScope()

    @property
    def has_allocation(self) -> bool:
        """Tell whether an allocation hangs on it."""
        return self._has_allocation

    @has_allocation.setter
    def has_allocation(self, value: bool) -> None:
        self._has_allocation = value
        self._stay()

    async def shake_hands(self) -> bool:
        """Begin TLS, if that is what it speaks; False when nothing came of it in time, or it was ended meanwhile."""
        if not isinstance(self._stream, trio.SSLStream):
            return True
        self._handshake.deadline = trio.current_time() + HANDSHAKE_TIMEOUT
        with self._handshake:
            try:
                await self._stream.do_handshake()
            except trio.BrokenResourceError:
                return False
            return True
        return False

    async def run(self, handle: FrameHandler, turns: trio.Lock) -> None:
        """Carry frames until either side ends it. All streams share `turns`, which they take one after the other."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                with self._idle:
                    await self._read(handle, turns)
                if self._idle.cancelled_caught:
                    self.problem = "silent"
                nursery.cancel_scope.cancel()

    def push_data(self, frame: bytes) -> None:
        """Send ChannelData, or let it wait."""
        self._queue.push_data(frame)
        self._wake()

    def push(self, frame: bytes) -> None:
        """Send what the core gave, or let it wait."""
        if is_channel_data(frame):
            self._queue.push_data(frame)
        else:
            self._queue.push_check(frame)
        self._wake()

    def end(self, problem: str) -> None:
        """End it from our side."""
        self.problem = self.problem or problem
        self._handshake.cancel()
        self._scope.cancel()

    async def _read(self, handle: FrameHandler, turns: trio.Lock) -> None:
        self._stay()
        try:
            while data := await self._stream.receive_some(READ_SIZE):
                self._splitter.receive(bytes(data))
                is_more = True
                while is_more:
                    async with turns:  # whoever waits has his turn in another round of the loop
                        is_more = self._take_turn(handle)
        except MalformedPacket as error:
            self.problem = str(error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has ended, the one way or the other

    def _take_turn(self, handle: FrameHandler) -> bool:
        """Hand on some frames; tell whether there may be more."""
        for _ in range(FRAMES_PER_TURN):
            frame = self._splitter.next_frame()
            if frame is None:
                return False
            handle(self, frame)
            self._stay()
        return True

    async def _write(self) -> None:
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                while self._queue:
                    with trio.fail_after(STUCK_TIMEOUT):
                        await self._stream.send_all(self._take())
        except trio.TooSlowError:
            self.end("stuck")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    def _take(self) -> bytes:
        """Take the next frames out of the queue: as many as go together, and one at least."""
        taken = size = 0
        most = WRITE_SIZE[self.local.transport]
        head = self._queue.head()
        for frame in head:
            if taken and size + len(frame) > most:
                break
            taken += 1
            size += len(frame)
        self._queue.consume(size)
        return b"".join(head[:taken])

    def _wake(self) -> None:
        self.dropped += self._queue.trim()
        self._news.set()

    def _stay(self) -> None:
        """Set the clock of silence anew."""
        self._idle.deadline = float("inf") if self._has_allocation else trio.current_time() + IDLE_TIMEOUT

    def _measure(self, head: bytes) -> int | None:
        length = measure_turn(head)
        if length is not None and length > LARGEST_OF_STRANGER and not self._has_allocation:
            raise MalformedPacket(f"a frame of {length} bytes without an allocation")
        return length
