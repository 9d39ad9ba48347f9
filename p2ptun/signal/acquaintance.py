"""What two machines tell each other to know each other from then on (`p2ptun pair`).

::

    0          1      4: what kind of letter it is
    1          1      how far this side has come
    2          1      length of the name
    3          n      what this side calls itself, UTF-8
    3 + n      2      length of the description
    5 + n      m      the description (`signal.description`); nothing in it is about ICE, which comes later

Each is whole and the newest counts, as in `signal.letter`. Neither side keeps anything before both have everything:
who has it ready says so, who hears that keeps it and says so. Whichever message is lost, one side at most has kept
something that the other hasn't, and knows that it never heard the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.signal.cursor import Cursor
from p2ptun.signal.description import Description, decode_description, encode_description

PAIRING: Final = 4
"""The kind of this letter; each kind is another first byte."""

MAX_NAME_SIZE: Final = 64  # bytes; what a host may be called on Linux, gethostname(2)


class Stage(IntEnum):
    """How far a side has come; it goes only up."""

    PROPOSED = 1  # this is who I am
    PREPARED = 2  # I have all of yours, and only have to keep it
    KEPT = 3  # I have kept it
    COMPLETE = 4  # I know that you have, too: nothing more will come
    WITHDRAWN = 5  # I have kept nothing and never shall


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """One side of a pairing."""

    stage: Stage
    name: str
    description: Description


def encode_acquaintance(acquaintance: Acquaintance) -> bytes:
    """Write our own side. Raises LocalProtocolError as `encode_description` does, and for a name that is too long."""
    name, description = acquaintance.name.encode(), encode_description(acquaintance.description)
    if len(name) > MAX_NAME_SIZE:
        raise LocalProtocolError(f"a name of {len(name)} bytes, {MAX_NAME_SIZE} at most")
    head = bytes([PAIRING, acquaintance.stage, len(name)])
    return head + name + len(description).to_bytes(2, "big") + description


def decode_acquaintance(data: bytes) -> Acquaintance:
    """Read the other side. Authentic, but not to be trusted, its name least of all. Raises MalformedPacket."""
    cursor = Cursor(data)
    if (kind := cursor.number(1)) != PAIRING:
        raise MalformedPacket(f"a letter of kind {kind} where two are pairing")
    try:
        stage = Stage(cursor.number(1))
        if (size := cursor.number(1)) > MAX_NAME_SIZE:
            raise MalformedPacket(f"a name of {size} bytes")
        name = cursor.take(size).decode("utf-8")
    except ValueError as error:
        raise MalformedPacket("a stage that is unknown, or a name that is no text") from error
    return Acquaintance(stage, name, decode_description(cursor.take(cursor.number(2))))
