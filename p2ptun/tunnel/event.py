"""What a session tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.aead.algorithm import Algorithm
from p2ptun.tunnel.control import Acknowledgement, CloseReason, IceDescription


class SessionFailure(Enum):
    """Why a handshake was given up, in words that users read."""

    NO_ANSWER = "the other side doesn't answer the handshake"
    UNAUTHENTIC_ANSWER = "the other side answered, but its key or pre-shared key doesn't fit"
    NO_COMMON_ALGORITHM = "the two sides have no encryption algorithm in common"


class Refusal(Enum):
    """Why a handshake datagram or control message was dropped; counted by the session."""

    CLOSED = "the session is closed"
    MALFORMED = "malformed"
    WRONG_MAC = "not made for our key"
    REPLAYED = "seen before"
    OVERLOADED = "too many handshakes"
    UNAUTHENTIC = "not authentic"
    UNEXPECTED = "answers nothing that we sent"
    COLLISION = "our own handshake goes first"
    NO_COMMON_ALGORITHM = "no common algorithm"
    UNKNOWN_CONTROL = "control message of a newer version"


@dataclass(frozen=True, slots=True)
class SessionEstablished:
    """There are keys where there were none."""

    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class SessionRekeyed:
    """New keys have taken over; the old ones still open what is on its way."""

    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """The keys grew too old in silence. No failure: call `initiate` when there is something to send."""


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A handshake was given up. Keys that there still are go on working until they are too old."""

    reason: SessionFailure


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The other side took its leave, authenticated. It may come back with a new handshake."""

    reason: CloseReason


@dataclass(frozen=True, slots=True)
class ControlReceived:
    """A control message that isn't the session's own business."""

    message: IceDescription | Acknowledgement


SessionEvent: TypeAlias = (
    SessionEstablished | SessionRekeyed | SessionExpired | SessionFailed | PeerClosed | ControlReceived
)
