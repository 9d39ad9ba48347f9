"""Taking untrusted bytes apart from front to back."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket


class Cursor:
    """A place in some bytes, which only moves forward and never past their end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes haven't been taken."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Take the next `size` bytes. Raises MalformedPacket when there are fewer."""
        if size > self.left:
            raise MalformedPacket(f"{size} bytes expected, {self.left} left")
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def number(self, size: int) -> int:
        """Take an unsigned big-endian number of `size` bytes. Raises MalformedPacket."""
        return int.from_bytes(self.take(size), "big")
