"""The missive: what one incarnation of a pinned peer sends to another, and how it is sealed.

::

    nonce, drawn at random (24) | XChaCha20-Poly1305, under the key of its direction, of

    0      1      bit 0: it asks; the other bits are zero, and skipped by who reads them
    1      16     sender: the incarnation that wrote this
    17     8      serial: which of its missives this is, counted from 1
    25     16     recipient: the incarnation that it is for; zeros: whichever there is
    41     8      seen: the highest serial of the recipient's that the sender had come across
    49     8      revision of what is said, counted from 1 in each session; 0: nothing is said
    57     ..     what is said

All numbers are big-endian. Nothing is in the clear, so that it shows its size and no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from p2ptun.aead import xchacha
from p2ptun.errors import MalformedPacket
from p2ptun.signal.cursor import Cursor
from p2ptun.types import RandomBytes

INCARNATION_SIZE: Final = 16  # so many that no two are ever the same
ANYBODY: Final = bytes(INCARNATION_SIZE)

_NUMBER_SIZE = 8  # counts letters: it never comes to its end
_ASKS = 1


@dataclass(frozen=True, slots=True)
class Missive:
    """What is sealed.

    Attributes:
        asks: Whether its recipient is to answer, for the sender doesn't know yet, or no more, that it is there.
    """

    sender: bytes
    serial: int
    recipient: bytes = ANYBODY
    seen: int = 0
    revision: int = 0
    said: bytes = field(default=b"", repr=False)
    asks: bool = False


def encode_missive(missive: Missive) -> bytes:
    """Write our own missive."""
    numbers = (number.to_bytes(_NUMBER_SIZE, "big") for number in (missive.serial, missive.seen, missive.revision))
    serial, seen, revision = numbers
    head = bytes([missive.asks * _ASKS]) + missive.sender + serial + missive.recipient + seen + revision
    return head + missive.said


def decode_missive(data: bytes) -> Missive:
    """Read the other side's missive. Authentic, but not to be trusted. Raises MalformedPacket."""
    cursor = Cursor(data)
    asks = bool(cursor.number(1) & _ASKS)
    sender, serial = cursor.take(INCARNATION_SIZE), cursor.number(_NUMBER_SIZE)
    recipient, seen = cursor.take(INCARNATION_SIZE), cursor.number(_NUMBER_SIZE)
    revision = cursor.number(_NUMBER_SIZE)
    if sender == ANYBODY or serial == 0:
        raise MalformedPacket("a missive of nobody's")
    return Missive(sender, serial, recipient, seen, revision, cursor.take(cursor.left), asks)


def seal_missive(key: bytes, missive: Missive, random_bytes: RandomBytes) -> bytes:
    """Encode and seal our own missive under the key of our direction."""
    nonce = random_bytes(xchacha.NONCE_SIZE)
    return nonce + xchacha.seal(key, nonce, b"", encode_missive(missive))


def open_missive(key: bytes, message: bytes) -> Missive:
    """Open and decode what came. Untrusted.

    Raises:
        AuthenticationFailed: If nobody who has the key sealed it.
        MalformedPacket: If it is too short, or somebody did, and it is no missive.
    """
    cursor = Cursor(message)
    nonce = cursor.take(xchacha.NONCE_SIZE)
    return decode_missive(xchacha.unseal(key, nonce, b"", cursor.take(cursor.left)))
