"""Control messages: what two sessions tell each other inside CONTROL frames.

MessagePack arrays whose first element is the type; further elements that a newer peer adds are ignored, and so are
types that we don't know. A control message comes from an authenticated peer, which isn't a trusted one: every number,
length and count has a bound here.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeAlias

import msgspec

from p2ptun.errors import MalformedPacket
from p2ptun.tunnel.msgpack import read_untrusted

MAX_CANDIDATES = 32  # in one message: 32 of 40 bytes still fit one datagram
MAX_CANDIDATE_SIZE = 256
MAX_CONTROL_SIZE = 1200  # a path of 1280 bytes, the least that IPv6 allows, carries it (RFC 8200 5)


class CloseReason(Enum):
    """Why the other side leaves. A reason that we don't know reads as UNSPECIFIED."""

    UNSPECIFIED = "unspecified"
    SHUTDOWN = "shutdown"
    RESTART = "restart"
    REPLACED = "replaced"

    @classmethod
    def _missing_(cls, value: object) -> CloseReason:
        return cls.UNSPECIFIED


class Keepalive(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Says only: this keypair works. Proves new keys, and answers one-way traffic."""


class Close(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The sender forgets this session now."""

    reason: CloseReason = CloseReason.UNSPECIFIED


class Candidates(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """ICE candidates trickled through the tunnel itself; each in the packed form of `signal`, opaque here."""

    generation: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    candidates: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_CANDIDATE_SIZE)], ...],
        msgspec.Meta(max_length=MAX_CANDIDATES),
    ] = ()
    end: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """A type from a newer version. Count it, ignore it."""

    type: int


KnownMessage: TypeAlias = Keepalive | Close | Candidates
ControlMessage: TypeAlias = Keepalive | Close | Candidates | Unknown


class _Typed(msgspec.Struct, array_like=True):
    """The first element of any control message."""

    type: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]


_KNOWN_TYPES = frozenset((0, 1, 2))
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KnownMessage)
_type_decoder = msgspec.msgpack.Decoder(_Typed)


def encode_control(message: KnownMessage) -> bytes:
    """Write a message as MessagePack."""
    return _encoder.encode(message)


def decode_control(payload: bytes) -> ControlMessage:
    """Read a message that a peer sent.

    Raises:
        MalformedPacket: too long, no MessagePack, no array with a type, or a field beyond its bounds.
    """
    if len(payload) > MAX_CONTROL_SIZE:
        raise MalformedPacket(f"a control message of {len(payload)} bytes")
    kind = read_untrusted(_type_decoder, payload, "control message").type
    return read_untrusted(_decoder, payload, "control message") if kind in _KNOWN_TYPES else Unknown(kind)
