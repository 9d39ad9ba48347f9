"""Tell what a datagram is by its first byte (RFC 7983 7), before anything else looks at it."""

from __future__ import annotations

from enum import Enum, auto


class DatagramKind(Enum):
    """Who a datagram is for."""

    STUN = auto()
    CHANNEL_DATA = auto()
    TUNNEL = auto()
    UNKNOWN = auto()


TUNNEL_FIRST, TUNNEL_LAST = 0xD1, 0xD4

_KINDS = [DatagramKind.UNKNOWN] * 256
_KINDS[0:4] = [DatagramKind.STUN] * 4  # RFC 7983 7
_KINDS[64:80] = [DatagramKind.CHANNEL_DATA] * 16  # RFC 8656 12: channels 0x4000-0x4FFF
_KINDS[TUNNEL_FIRST : TUNNEL_LAST + 1] = [DatagramKind.TUNNEL] * (TUNNEL_LAST - TUNNEL_FIRST + 1)


def classify(first_byte: int) -> DatagramKind:
    """Tell the kind of a datagram from its first byte."""
    return _KINDS[first_byte]
