"""Datagrams in a TCP stream: two bytes of length before each (RFC 4571 2, RFC 6544 3)."""

from __future__ import annotations

HEADER_SIZE = 2
LARGEST_FRAME = 65535  # RFC 4571 2: what two bytes can tell


def frame(payload: bytes | bytearray | memoryview) -> bytes:
    """Put its length before a datagram."""
    return b"".join((len(payload).to_bytes(HEADER_SIZE, "big"), payload))


def split_frames(view: memoryview, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
    """Find the whole frames in `view[start:end]`; return the spans of what is in them, and where the rest begins."""
    spans = []
    while end - start >= HEADER_SIZE:
        stop = start + HEADER_SIZE + (view[start] << 8 | view[start + 1])
        if stop > end:
            break
        spans.append((start + HEADER_SIZE, stop))
        start = stop
    return spans, start
