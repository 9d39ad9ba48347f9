"""ChannelData, the short frame around application data (RFC 8656 12.4).

::

    | channel number (2) | length of the data (2) | data | over a stream: padding to 4 |
"""

from __future__ import annotations

import struct
from typing import Final

from p2ptun.errors import MalformedPacket
from p2ptun.stun.codec import padding
from p2ptun.stun.stream import measure_stun

FIRST_CHANNEL: Final = 0x4000
LAST_CHANNEL: Final = 0x7FFF
"""RFC 8656 12 ends at 0x4FFF, for the sake of protocols that come to no TURN server; RFC 5766 11 has these."""

HEADER: Final = struct.Struct(">HH")


def is_channel_data(data: bytes) -> bool:
    """Tell by the first byte whether a datagram claims to be ChannelData (RFC 8656 12, RFC 7983 7)."""
    return FIRST_CHANNEL >> 8 <= data[0] <= LAST_CHANNEL >> 8 if data else False


def encode_channel_data(number: int, data: bytes, is_padded: bool) -> bytes:
    """Frame application data; `is_padded` over a stream."""
    return HEADER.pack(number, len(data)) + data + (bytes(padding(len(data))) if is_padded else b"")


def decode_channel_data(data: bytes) -> tuple[int, bytes]:
    """Read an untrusted frame: channel number and application data. What follows the data is padding.

    Raises:
        MalformedPacket: it is no ChannelData, or cut.
    """
    if not is_channel_data(data) or len(data) < HEADER.size:
        raise MalformedPacket("no ChannelData")
    number, length = HEADER.unpack_from(data)
    end = HEADER.size + length
    if end > len(data):
        raise MalformedPacket(f"a frame of {length} bytes is cut")
    return number, data[HEADER.size : end]


def measure_frame(head: bytes) -> int | None:
    """Measure the frame that begins a TURN stream: a STUN message, or ChannelData with its padding.

    See `p2ptun.stun.stream.Measure`.

    Raises:
        MalformedPacket: neither begins here.
    """
    if not is_channel_data(head):
        return measure_stun(head)
    if len(head) < HEADER.size:
        return None
    _, length = HEADER.unpack_from(head)
    return int(HEADER.size + length + padding(length))
