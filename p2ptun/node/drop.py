"""Why a node drops a datagram or packet before anybody else has looked at it. The words are shown by `status`."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TypeVar

ReasonT = TypeVar("ReasonT", bound=Enum)


class DropReason(Enum):
    """What was wrong, or missing."""

    EMPTY = "empty"
    UNKNOWN_DATAGRAM = "unknown datagram"
    MALFORMED_STUN = "malformed stun"
    INDICATION = "stun indication"
    UNKNOWN_TRANSACTION = "stun answer that nobody asked for"
    TOO_MANY_STRANGERS = "too many stun requests for nobody"
    UNKNOWN_HANDSHAKE = "handshake of nobody"
    UNKNOWN_SESSION = "unknown session"
    NO_PACKET = "no IP packet from the interface"
    NO_PEER = "no peer for the destination"
    NOT_CONNECTED = "not connected"
    QUEUE_FULL = "queue full"
    TOO_MANY_PLACES = "too many places for a relay to let in"
    UNTOLD_CANDIDATE = "candidate that a message has no room for"
    HASTY_DESCRIPTION = "description too soon after others"


def labelled(layer: str, drops: Counter[ReasonT]) -> Counter[str]:
    """Put what one layer dropped into the words of `status`: `layer: reason`. Layers share words, such as malformed."""
    return Counter({f"{layer}: {reason.value}": count for reason, count in drops.items() if count})
