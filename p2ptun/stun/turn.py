"""What both ends of TURN agree on (RFC 8656): how long things last, and ChannelData, the short frame around data.

::

    | channel number (2) | length of the data (2) | data | over a stream: padding to 4 |      (12.4, 12.5)
"""

from __future__ import annotations

import struct
from typing import Final

from p2ptun.errors import MalformedPacket
from p2ptun.stun.codec import padding
from p2ptun.stun.stream import measure_stun

UDP: Final = 17  # IP protocol number, the only one in REQUESTED-TRANSPORT (RFC 8656 18.8) that we know

DEFAULT_LIFETIME: Final = 600  # seconds, RFC 8656 3.2: of an allocation
PERMISSION_LIFETIME: Final = 300.0  # seconds, RFC 8656 9
CHANNEL_LIFETIME: Final = 600.0  # seconds, RFC 8656 12
CHANNEL_COOLDOWN: Final = 300.0  # seconds, RFC 8656 12: late data of an old channel mustn't pass for a new one's

FIRST_CHANNEL: Final = 0x4000  # RFC 8656 12
LAST_CHANNEL: Final = 0x4FFF
LAST_OLD_CHANNEL: Final = 0x7FFF
"""RFC 5766 11 had so many; RFC 8656 has fewer for the sake of protocols that come to no TURN server."""

CHANNEL_HEADER: Final = struct.Struct(">HH")
CHANNEL_HEADER_SIZE: Final = CHANNEL_HEADER.size  # bytes


def is_channel_data(data: bytes) -> bool:
    """Tell by the first byte whether a frame claims to be ChannelData (RFC 8656 12, RFC 7983 7)."""
    return FIRST_CHANNEL >> 8 <= data[0] <= LAST_OLD_CHANNEL >> 8 if data else False


def encode_channel_data(number: int, data: bytes, is_padded: bool) -> bytes:
    """Frame at most 65,535 bytes of data; `is_padded` over a stream."""
    return CHANNEL_HEADER.pack(number, len(data)) + data + (bytes(padding(len(data))) if is_padded else b"")


def decode_channel_data(data: bytes) -> tuple[int, bytes]:
    """Read an untrusted frame: channel number and data. What follows the data is padding, which UDP allows too.

    Raises:
        MalformedPacket: it is no ChannelData, or cut.
    """
    if not is_channel_data(data) or len(data) < CHANNEL_HEADER_SIZE:
        raise MalformedPacket("no ChannelData")
    number, length = CHANNEL_HEADER.unpack_from(data)
    end = CHANNEL_HEADER_SIZE + length
    if end > len(data):
        raise MalformedPacket(f"a frame of {length} bytes is cut")
    return number, data[CHANNEL_HEADER_SIZE:end]


def measure_turn(head: bytes) -> int | None:
    """Measure what a TURN stream carries, STUN or padded ChannelData; a `Measure` for `StreamSplitter`.

    Raises:
        MalformedPacket: neither begins here.
    """
    if not is_channel_data(head):
        return measure_stun(head)
    if len(head) < CHANNEL_HEADER_SIZE:
        return None
    _, length = CHANNEL_HEADER.unpack_from(head)
    return int(CHANNEL_HEADER_SIZE + length + padding(length))
