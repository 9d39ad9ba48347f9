"""The letter: what one side of a tunnel says to the other in a conversation. Each is whole; the newest counts.

::

    0      1      1: what kind of letter it is
    1      2      length of the description
    3      n      the description (`signal.description`), the same in all letters of a session
    3 + n  ..     the state of this side's ICE agent now, as the tunnel carries it (`tunnel.control`)

So it makes no difference which letters a rendezvous loses, as long as one arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from p2ptun.errors import MalformedPacket
from p2ptun.signal.cursor import Cursor
from p2ptun.signal.description import Description, decode_description, encode_description
from p2ptun.tunnel.control import IceDescription, decode_control, encode_control

TUNNEL: Final = 1
"""The kind of this letter; each kind is another first byte."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a side is, and how its agent stands now."""

    description: Description
    state: IceDescription


def encode_letter(letter: Letter) -> bytes:
    """Write our own letter. Raises LocalProtocolError where `encode_description` does."""
    description = encode_description(letter.description)
    return bytes([TUNNEL]) + len(description).to_bytes(2, "big") + description + encode_control(letter.state)


def decode_letter(data: bytes) -> Letter:
    """Read the other side's letter. Authentic, but not to be trusted. Raises MalformedPacket."""
    cursor = Cursor(data)
    if (kind := cursor.number(1)) != TUNNEL:
        raise MalformedPacket(f"a letter of kind {kind}")
    description = decode_description(cursor.take(cursor.number(2)))
    state = decode_control(cursor.take(cursor.left))
    if not isinstance(state, IceDescription):
        raise MalformedPacket("a letter without the state of an agent")
    return Letter(description, state)
