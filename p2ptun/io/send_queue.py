"""Frames on their way into a stream: which goes next, and which no more."""

from __future__ import annotations

from collections import deque

MAX_WAITING = 1 << 17
"""Bytes of data that wait for a stuck stream: what 10 Mb/s take in 100 ms. Older data is worth nothing. So many of STUN
messages, too, for these may hold as much data."""

MAX_WAITING_CHECKS = 64
FRAMES_AT_ONCE = 256  # of the 1024 buffers that sendmsg takes, linux/uio.h UIO_MAXIOV


class SendQueue:
    """Frames that a stream hasn't taken yet.

    STUN overtakes data, and of too much data the oldest goes: whoever measures the path sees the path, not the queue,
    and what comes out after a pause is what was sent last. Frames leave whole, or are ended before the next begins.
    """

    __slots__ = ("_begun", "_checks", "_checks_size", "_data", "_size")

    def __init__(self) -> None:
        self._begun = b""
        self._checks: deque[bytes] = deque()
        self._data: deque[bytes] = deque()
        self._size = 0  # bytes of data
        self._checks_size = 0

    def __bool__(self) -> bool:
        return bool(self._begun or self._checks or self._data)

    def push_check(self, frame: bytes) -> None:
        """Add the frame of a STUN message; it goes before all data."""
        self._checks.append(frame)
        self._checks_size += len(frame)

    def push_data(self, frame: bytes) -> None:
        """Add any other frame."""
        self._data.append(frame)
        self._size += len(frame)

    def head(self) -> list[bytes]:
        """Give the frames that go next, to be sent as one; tell `consume` how much of that went."""
        frames = [self._begun] if self._begun else []
        for waiting in (self._checks, self._data):
            for frame in waiting:
                if len(frames) == FRAMES_AT_ONCE:
                    return frames
                frames.append(frame)
        return frames

    def consume(self, size: int) -> None:
        """Forget so many bytes: the stream has taken them."""
        while size > 0:
            frame = self._pop()
            self._begun = frame[size:]
            size -= len(frame)

    def take(self, size: int) -> bytes:
        """Give so many bytes of the frames that go next, rounded up to a whole one, and forget them."""
        taken = bytearray()
        while self and len(taken) < size:
            taken += self._pop()
            self._begun = b""
        return bytes(taken)

    def trim(self) -> int:
        """Drop the oldest of what is too much; return how many frames that were."""
        dropped = 0
        while self._size > MAX_WAITING:
            self._size -= len(self._data.popleft())
            dropped += 1
        while len(self._checks) > MAX_WAITING_CHECKS or self._checks_size > MAX_WAITING:
            self._checks_size -= len(self._checks.popleft())
            dropped += 1
        return dropped

    def _pop(self) -> bytes:
        if self._begun:
            return self._begun
        if self._checks:
            check = self._checks.popleft()
            self._checks_size -= len(check)
            return check
        frame = self._data.popleft()
        self._size -= len(frame)
        return frame
