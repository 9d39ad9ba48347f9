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

MAX_CANDIDATES = 32  # in one description: as many as an agent takes in
MAX_CANDIDATE_SIZE = 256
MAX_CONTROL_SIZE = 1200  # a path of 1280 bytes, the least that IPv6 allows, carries it (RFC 8200 5)

_ICE_TEXT = r"\A[A-Za-z0-9+/]+\Z"  # RFC 8839 5.4, as are the lengths below
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


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


class IceCredentials(msgspec.Struct, frozen=True, array_like=True):
    """User name fragment and password of one ICE generation. The password stays out of the `repr`."""

    generation: _Count
    ufrag: Annotated[str, msgspec.Meta(min_length=4, max_length=256, pattern=_ICE_TEXT)]
    password: Annotated[str, msgspec.Meta(min_length=22, max_length=256, pattern=_ICE_TEXT)]

    def __repr__(self) -> str:
        return f"IceCredentials(generation={self.generation}, ufrag={self.ufrag!r})"


class IceDescription(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """All that ICE on the other side has to know of the sender, in its newest state; it replaces what came before.

    Attributes:
        revision: Counts up at each change.
        acknowledged: The newest revision of the receiver's own description that the sender has taken in; 0 for none.
        credentials: Those of the newest generation.
        next_credentials: Those of the generation after it, with which either side may restart unannounced.
        candidates: Each in the packed form of `signal`, opaque here.
        end: Whether no more candidates come in this generation (RFC 8838 14).
        options: Bit 0: follows renomination (draft-thatcher-ice-renomination). The others are those of `ice.nat_hint`.
    """

    revision: Annotated[int, msgspec.Meta(ge=1, lt=1 << 32)]
    acknowledged: _Count
    credentials: IceCredentials
    next_credentials: IceCredentials | None
    candidates: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_CANDIDATE_SIZE)], ...],
        msgspec.Meta(max_length=MAX_CANDIDATES),
    ]
    end: bool
    options: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Says only which revision of the receiver's `IceDescription` the sender has taken in last."""

    acknowledged: _Count


class Unknown(msgspec.Struct, frozen=True):
    """A type from a newer version. Count it, ignore it."""

    type: int


KnownMessage: TypeAlias = Keepalive | Close | IceDescription | Acknowledgement
ControlMessage: TypeAlias = Keepalive | Close | IceDescription | Acknowledgement | Unknown


class _Typed(msgspec.Struct, array_like=True):
    """The first element of any control message."""

    type: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]


_KNOWN_TYPES = frozenset((0, 1, 2, 3))
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
