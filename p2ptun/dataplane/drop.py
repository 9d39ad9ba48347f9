"""Why the data plane drops a datagram or a packet. Shown by `status`, so that nothing vanishes unexplained."""

from __future__ import annotations

from enum import Enum


class DropReason(Enum):
    """What was wrong. Some concern a whole datagram, some one IP packet in it."""

    TRUNCATED = "datagram too short"
    COUNTER = "counter beyond the last one allowed"
    UNAUTHENTIC = "not authentic"
    REPLAYED = "seen before, or too old to tell"
    EMPTY = "nothing inside"
    UNKNOWN_FRAME = "frame of an unknown kind"
    UNNEGOTIATED = "feature that wasn't negotiated"
    MALFORMED = "no proper IP packet"
    FOREIGN_SOURCE = "inner source isn't the peer's"
    TOO_BIG = "packet larger than the path carries"
    NO_KEY = "no key to seal with"
    NO_ROOM = "no room in the batch"
