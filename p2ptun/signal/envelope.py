"""The envelope: what one message of a rendezvous holds while two sides pair by a code.

::

    frame     kind (1) | length (2) | value
    message   one frame or several, of different kinds

Frames of kinds that don't exist yet are skipped, so that a later version can say more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.signal.cursor import Cursor

MAX_ENVELOPE_SIZE: Final = 16_384
"""Bytes: what every rendezvous carries whole."""

MAX_FRAMES: Final = 8


class FrameKind(Enum):
    """What a frame is about."""

    OPENING = 1
    CONFIRMATION = 2
    LETTER = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing that is told."""

    kind: FrameKind
    value: bytes


def encode_envelope(frames: list[Frame]) -> bytes:
    """Write our own frames. Raises LocalProtocolError when they don't fit into one message."""
    message = b"".join(
        bytes([frame.kind.value]) + len(frame.value).to_bytes(2, "big") + frame.value for frame in frames
    )
    if len(message) > MAX_ENVELOPE_SIZE:
        raise LocalProtocolError(f"a message of {len(message)} bytes, {MAX_ENVELOPE_SIZE} at most")
    return message


def decode_envelope(message: bytes) -> list[Frame]:
    """Take a message apart. Untrusted. Raises MalformedPacket."""
    if not 0 < len(message) <= MAX_ENVELOPE_SIZE:
        raise MalformedPacket(f"a message of {len(message)} bytes")
    cursor = Cursor(message)
    frames = []
    for _ in range(MAX_FRAMES):
        kind = cursor.number(1)
        value = cursor.take(cursor.number(2))
        if kind in _KINDS:
            frames.append(Frame(FrameKind(kind), value))
        if not cursor.left:
            return frames
    raise MalformedPacket(f"more than {MAX_FRAMES} frames")


_KINDS = frozenset(kind.value for kind in FrameKind)
