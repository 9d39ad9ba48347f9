"""Cut a TCP or TLS stream into the messages in it (RFC 8489 6.2.2, RFC 8656 12.5 for what is mixed in)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from p2ptun.errors import MalformedPacket
from p2ptun.stun.codec import MAGIC_COOKIE
from p2ptun.stun.message import HEADER_LENGTH

Measure: TypeAlias = Callable[[bytes], int | None]
"""Tells from the first bytes of a frame how long the whole frame is, in bytes; None while more of it is needed.

Raises MalformedPacket when no frame begins like this. At least HEADER_LENGTH bytes are shown when there are as many.
"""


def measure_stun(head: bytes) -> int | None:
    """Measure a STUN message; see `Measure`. Garbage is told as early as its first byte.

    Raises:
        MalformedPacket: it is no STUN message.
    """
    if head[:1] >= b"\x40" or not MAGIC_COOKIE.startswith(head[4:8]):
        raise MalformedPacket("the stream carries something else than STUN")
    if len(head) < 8:
        return None
    length = int.from_bytes(head[2:4], "big")
    if length % 4:
        raise MalformedPacket(f"a STUN message of {length} bytes in the stream")
    return HEADER_LENGTH + length


class StreamSplitter:
    """Takes the bytes of a stream as they come and gives whole frames.

    `measure` knows what frames there are: STUN alone by default; TURN's also knows ChannelData. Lengths come from the
    other side, but no frame is longer than 65,551 bytes, and that bounds what waits here besides the last `receive`.
    """

    __slots__ = ("_buffer", "_failure", "_measure")

    def __init__(self, measure: Measure = measure_stun) -> None:
        self._measure = measure
        self._buffer = bytearray()
        self._failure: str | None = None

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """Give the next whole frame; None until more bytes come.

        Raises:
            MalformedPacket: no frame begins here. It stays so: the place in the stream is lost, close the connection.
        """
        if self._failure is not None:
            raise MalformedPacket(self._failure)
        if not self._buffer:
            return None
        try:
            length = self._measure(bytes(self._buffer[:HEADER_LENGTH]))
        except MalformedPacket as error:
            self._failure = str(error)
            self._buffer.clear()
            raise
        if length is None or len(self._buffer) < length:
            return None
        frame = bytes(self._buffer[:length])
        del self._buffer[:length]
        return frame
