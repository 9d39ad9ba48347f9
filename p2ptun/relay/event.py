"""What the server tells its owner, for logs and metrics. No secrets; user names hold no control or bidi characters.

A user name gets here only when the client proved it, in the form of `stun.precis`, which has none of these characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.stun.message import Method
from p2ptun.types import Endpoint


class EndReason(Enum):
    """Why an allocation ended."""

    DELETED = "deleted by the client"  # Refresh with LIFETIME 0
    EXPIRED = "expired"
    DISCONNECTED = "connection closed"


class DropReason(Enum):
    """Why something was dropped without an answer. Counted in `Server.drops`."""

    UNKNOWN_LISTENER = "came to an unknown listener"
    BAD_SOURCE = "came from port 0"
    MALFORMED = "malformed"
    RESPONSE = "response, and a server asks nothing"
    INDICATION = "indication that asks for nothing"
    UNKNOWN_ATTRIBUTE = "indication with an attribute that can't be followed"
    NO_RELAY = "asks for a relay, and this server is none"
    RATE_LIMIT = "too many unauthenticated requests from there"
    UNFINISHED = "asked again while the socket is being opened"
    NO_ALLOCATION = "no allocation"
    NO_CHANNEL = "channel that isn't bound"
    NO_PERMISSION = "peer without a permission"
    FORBIDDEN_PEER = "peer that the relay doesn't reach"
    BANDWIDTH = "over the bandwidth cap"
    TOO_LARGE = "larger than fits"


@dataclass(frozen=True, slots=True)
class AllocationMade:
    """A client has an allocation.

    Attributes:
        client: The client's address as we see it, and its transport.
        local: The listener that it uses.
        relayed: One address, or an IPv4 and an IPv6 one.
        user: Whose it is.
    """

    client: Endpoint
    local: Endpoint
    relayed: tuple[Endpoint, ...]
    user: str


@dataclass(frozen=True, slots=True)
class AllocationEnded:
    """An allocation is gone, with what it carried: application bytes, both ways together."""

    client: Endpoint
    local: Endpoint
    relayed: tuple[Endpoint, ...]
    user: str
    reason: EndReason
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request got an error. Not told: the challenge (401) that begins every conversation, and stale nonces (438).

    Attributes:
        client: Who asked.
        local: The listener.
        method: What for.
        code: The STUN error code.
        reason: Its reason phrase, ours.
        user: The user name; empty when it wasn't proved, such as for a wrong password (401).
    """

    client: Endpoint
    local: Endpoint
    method: Method
    code: int
    reason: str
    user: str


RelayEvent: TypeAlias = AllocationMade | AllocationEnded | RequestRefused
