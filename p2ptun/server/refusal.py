"""Why a room turns somebody away: what `p2ptun.server.rooms` raises, and every store behind it."""

from __future__ import annotations

from enum import Enum

from p2ptun.errors import P2ptunError
from p2ptun.rendezvous.base import BurnReason


class Kind(Enum):
    """What is the matter. Values are the words that counters and problem types use."""

    UNKNOWN = "unknown"  # there is no such room
    CROWDED = "crowded"  # two are in it, and both are told
    BURNT = "burnt"  # a side ended it; `reason` says why
    UNAUTHORIZED = "unauthorized"  # the token is no side's
    FULL = "full"  # a limit is reached; `limit` says which
    UNAVAILABLE = "unavailable"  # the store is away: try again soon


class Limit(Enum):
    """Which limit is reached. All but MESSAGE pass by themselves, with time or when the other side reads."""

    ROOMS = "rooms"  # rooms in all
    BYTES = "bytes"  # bytes of all messages
    MESSAGES = "messages"  # messages of one side that the other hasn't read
    SIDE_BYTES = "side-bytes"  # their bytes
    MESSAGE = "message"  # the bytes of one message
    POLLS = "polls"  # waiting polls in all


_SENTENCES = {
    Kind.UNKNOWN: "There is no such room.",
    Kind.CROWDED: "Two sides are in this room already.",
    Kind.BURNT: "This room was ended.",
    Kind.UNAUTHORIZED: "The token is none of a side of this room.",
    Kind.FULL: "There is no room for more.",
    Kind.UNAVAILABLE: "The server can't reach its store of rooms.",
}


class Refusal(P2ptunError):
    """A room, or all of them, can't do what was asked. Nothing has changed but what is said at the kinds.

    Attributes:
        kind: What is the matter.
        reason: Of BURNT only: what the side gave that ended the room.
        limit: Of FULL only.
    """

    def __init__(self, kind: Kind, *, reason: BurnReason | None = None, limit: Limit | None = None) -> None:
        super().__init__(_SENTENCES[kind])
        self.kind = kind
        self.reason = reason
        self.limit = limit
