"""STUN messages and ChannelData in one stream, as TURN has them (RFC 8656 12.5).

::

    | STUN: a header that tells the length (RFC 8489 5), attributes |
    | channel number (2) | length (2) | data | padding to 4         |
"""

from __future__ import annotations

from p2ptun.stun.message import HEADER_LENGTH
from p2ptun.stun.stream import measure_stun
from p2ptun.stun.turn import CHANNEL_HEADER_SIZE, FIRST_CHANNEL, LAST_CHANNEL

_FIRST, _LAST = FIRST_CHANNEL >> 8, LAST_CHANNEL >> 8

LARGEST_TURN_FRAME = 1 << 16 | 1 << 5
"""Bytes of the largest frame there can be, rounded up: both kinds tell the length of what follows the header by two
bytes."""


def split_turn_frames(view: memoryview, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
    """Find the whole frames in `view[start:end]`; return their spans without padding, and where the rest begins.

    Raises:
        MalformedPacket: If what begins somewhere is neither; the stream is of no use any more.
    """
    spans = []
    while start < end:
        if _FIRST <= view[start] <= _LAST:
            if end - start < CHANNEL_HEADER_SIZE:
                break
            size = CHANNEL_HEADER_SIZE + (view[start + 2] << 8 | view[start + 3])
        else:
            measured = measure_stun(bytes(view[start : min(end, start + HEADER_LENGTH)]))
            if measured is None:
                break
            size = measured
        behind = start + size + -size % 4
        if behind > end:
            break
        spans.append((start, start + size))
        start = behind
    return spans, start
