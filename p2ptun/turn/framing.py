"""ChannelData frames: `number (2) | length (2) | payload | padding to 4 on streams` (RFC 8656 12.4, 12.5)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from p2ptun.errors import MalformedPacket
from p2ptun.stun.codec import padding
from p2ptun.stun.stream import measure_stun
from p2ptun.types import Endpoint

CHANNEL_HEADER_LENGTH: Final = 4
FIRST_CHANNEL: Final = 0x4000  # RFC 8656 12
LAST_CHANNEL: Final = 0x4FFF

_HEADER: Final = struct.Struct(">HH")


class Parcel(NamedTuple):
    """Where in a buffer a peer's payload lies, who sent it, and to which address of ours.

    A named tuple, as is `Channel`: one is made per datagram on the hot path, in a third of a frozen dataclass's time.
    """

    start: int
    end: int
    peer: Endpoint
    relayed: Endpoint


def is_channel_data(data: bytes) -> bool:
    """Tell by the first byte whether a frame claims to be ChannelData (RFC 8656 12, RFC 7983 7)."""
    return data[:1] >= b"\x40" and data[:1] < b"\x50"


def encode_channel_data(number: int, payload: bytes, is_padded: bool) -> bytes:
    """Frame a payload of at most 65,535 bytes."""
    frame = _HEADER.pack(number, len(payload)) + payload
    return frame + bytes(padding(len(payload))) if is_padded else frame


def decode_channel_data(data: bytes) -> tuple[int, bytes]:
    """Give channel number and payload of an untrusted frame. Padding behind it, which UDP allows too, is left out.

    Raises:
        MalformedPacket: no ChannelData, or cut.
    """
    if not is_channel_data(data) or len(data) < CHANNEL_HEADER_LENGTH:
        raise MalformedPacket("no ChannelData")
    number, length = _HEADER.unpack_from(data)
    payload = bytes(data[CHANNEL_HEADER_LENGTH : CHANNEL_HEADER_LENGTH + length])
    if len(payload) < length:
        raise MalformedPacket(f"a frame of {length} bytes is cut")
    return number, payload


def measure_turn(head: bytes) -> int | None:
    """Measure what a TURN stream carries, STUN or padded ChannelData; a `Measure` for `StreamSplitter`.

    Raises:
        MalformedPacket: it is neither.
    """
    if not is_channel_data(head):
        return measure_stun(head)
    if len(head) < CHANNEL_HEADER_LENGTH:
        return None
    _, length = _HEADER.unpack_from(head)
    return CHANNEL_HEADER_LENGTH + int(length) + padding(length)
