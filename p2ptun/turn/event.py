"""What a pool tells its owner, and why things fail (all values, nothing here acts)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.turn.server import Server
from p2ptun.types import Endpoint


class Problem(Enum):
    """What is wrong with a server: the end of a sentence that begins with its name. The most telling come first."""

    WRONG_CREDENTIALS = "doesn't accept the user name and password"  # 401 again, 441
    NO_CREDENTIALS = "wants a user name and a password"
    UNTRUSTED = "has no certificate that proves its name"
    QUOTA_REACHED = "has no allocation left for this user"  # 486
    NO_CAPACITY = "has no capacity left"  # 508
    FORBIDDEN = "forbids us to use it as a relay"  # 403
    NO_FAMILY = "relays neither IPv4 nor IPv6 for us"  # 440
    NO_UDP = "doesn't relay UDP"  # 442
    LOOP = "sends us from one server to the next without end"  # 300
    UNPROVEN_REDIRECT = "sends us to another server without proof that it may"  # 300
    SERVER_ERROR = "has an error of its own"  # 500
    REFUSED = "refused the allocation"  # any other code
    UNUSABLE = "gave an answer that makes no sense"
    THROUGH_TUNNEL = "is reachable through a tunnel only"
    CONNECTION_REFUSED = "doesn't listen there"
    CONNECTION_LOST = "closed the connection"
    UNREACHABLE = "can't be reached from here"
    NO_ANSWER = "doesn't answer"


class LossReason(Enum):
    """Why a relayed address is ours no more."""

    SILENT = "the relay doesn't answer"
    CONNECTION_LOST = "the connection to the relay is gone"
    FORGOTTEN = "the relay doesn't know it any more"  # 437: it was restarted, or a NAT gave us another address
    EXPIRED = "the relay would not prolong it"
    CREDENTIALS = "the relay doesn't accept the user name and password any more"
    REPLACED = "another one took its place"
    TAKEN = "a socket of ours has that address"  # no honest relay gives it
    NETWORK_CHANGED = "the network changed"
    CLOSED = "it was given back"


class DropReason(Enum):
    """Why something was dropped. Counted in `Pool.drops`, shown by `status`."""

    UNKNOWN_SOCKET = "came to an unknown socket"
    FOREIGN_SOURCE = "came from somebody else than the server"
    MALFORMED = "malformed"
    TOO_LARGE = "too large"
    UNKNOWN_TRANSACTION = "answers nothing that we asked"
    UNAUTHENTICATED = "not authentic"
    UNEXPECTED = "no answer, and no data"
    UNKNOWN_CHANNEL = "for a channel that isn't ours"
    UNKNOWN_PEER = "from a peer that was never let in"
    ICMP = "error message about a peer"  # RFC 8656 11.6: a hint that nobody authenticated
    UNKNOWN_RELAY = "to be sent over a relay that is gone"
    REFUSED_PEER = "to a peer that the relay refused"
    QUEUE_FULL = "queue full"
    TOO_MANY_PEERS = "too many peers"
    TOO_MANY_SERVERS = "too many servers"


@dataclass(frozen=True, slots=True)
class RelayGained:
    """A server relays for us: `relayed` is one more address of ours.

    Attributes:
        mapped: Where the server sees us; None when it didn't say.
    """

    relayed: Endpoint
    server: Server
    mapped: Endpoint | None


@dataclass(frozen=True, slots=True)
class RelayLost:
    """`relayed` is ours no more. Another allocation is under way, if there can be one."""

    relayed: Endpoint
    reason: LossReason


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The server won't relay between `relayed` and `peer`. Others go on. `reason` is our text for the code."""

    relayed: Endpoint
    peer: Endpoint
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A datagram of `peer` came to `relayed` in a message of the slow path."""

    payload: bytes
    peer: Endpoint
    relayed: Endpoint


@dataclass(frozen=True, slots=True)
class ServerFailed:
    """No transport of a server gave us an allocation; it is tried again later, ever more rarely.

    `server` is the one whose problem tells most. `code` is what it answered, None without an answer. Comes again only
    when that has changed, or after it worked.
    """

    server: Server
    problem: Problem
    code: int | None


@dataclass(frozen=True, slots=True)
class CredentialWanted:
    """The credential of the server called `name` expires soon, or was refused: answer by `Pool.set_credential`."""

    name: str


Event: TypeAlias = RelayGained | RelayLost | PeerRefused | DataReceived | ServerFailed | CredentialWanted
