"""Memory that is allocated once and used for every datagram: a buffer, and a batch of spans in one."""

from __future__ import annotations

from collections.abc import Iterator

from p2ptun.aead.sodium import Pointer, pointer_into
from p2ptun.errors import LocalProtocolError


class Buffer:
    """Bytes of a fixed size that Python (`raw`), the kernel (`view`) and libsodium (`pointer`) see without copying.

    The pointer pins `raw`: it can't be resized as long as the buffer lives.
    """

    __slots__ = ("pointer", "raw", "size", "view")

    def __init__(self, size: int) -> None:
        self.size = size
        self.raw = bytearray(size)
        self.view = memoryview(self.raw)
        self.pointer: Pointer = pointer_into(self.raw)

    @classmethod
    def of(cls, data: bytes) -> Buffer:
        """Build a buffer that holds a copy of `data` and nothing else."""
        buffer = cls(len(data))
        buffer.raw[:] = data
        return buffer

    def __len__(self) -> int:
        return self.size


class Batch:
    """Packets or datagrams, one after the other in one buffer; `spans` are their [start, end), in rising order.

    What iteration yields are views into the buffer: they are good until the batch is cleared.
    """

    __slots__ = ("buffer", "spans")

    def __init__(self, size: int) -> None:
        self.buffer = Buffer(size)
        self.spans: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.spans)

    def __iter__(self) -> Iterator[memoryview]:
        view = self.buffer.view
        for start, end in self.spans:
            yield view[start:end]

    @property
    def end(self) -> int:
        """Where the last span ends: whoever reads straight into the buffer starts there."""
        return self.spans[-1][1] if self.spans else 0

    @property
    def room(self) -> int:
        """How many bytes are free after the last span."""
        return self.buffer.size - self.end

    def share(self, spans: list[tuple[int, int]]) -> Batch:
        """Make a batch of some of its spans over the same buffer: for reading, as long as this one isn't cleared."""
        part = Batch.__new__(Batch)
        part.buffer, part.spans = self.buffer, spans
        return part

    def clear(self) -> None:
        """Forget every span. The bytes stay until they are overwritten."""
        self.spans.clear()

    def append(self, data: bytes | bytearray | memoryview) -> bool:
        """Copy `data` in after the last span; False, and nothing changed, when it doesn't fit."""
        start = self.end
        end = start + len(data)
        if end > self.buffer.size:
            return False
        self.buffer.view[start:end] = data
        self.spans.append((start, end))
        return True

    def add_span(self, start: int, end: int) -> None:
        """Record bytes that are in the buffer already, at or after the last span.

        Raises:
            LocalProtocolError: If they overlap what is there or lie outside the buffer.
        """
        if not self.end <= start <= end <= self.buffer.size:
            raise LocalProtocolError(
                f"span {start}..{end} doesn't fit a batch filled to {self.end} of {self.buffer.size}"
            )
        self.spans.append((start, end))
