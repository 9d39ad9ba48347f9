"""What an agent tells its owner: states, reasons, events (all values, nothing here acts)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint


class AgentState(Enum):
    """Where an agent stands.

    ::

        NEW -> CHECKING -> CONNECTED <-> IDLE
                  |  ^      ^   |         |
                  |  |      |   v         v
                  |  +------ SUSPECT <----+
                  v              |
                FAILED <---------+           CLOSED from anywhere

    A path that is lost for good leads back to CHECKING as long as a restart is possible, and to FAILED otherwise.
    """

    NEW = "new"  # the remote credentials aren't known yet
    CHECKING = "checking"  # no valid pair
    CONNECTED = "connected"  # a valid pair carries data
    IDLE = "idle"  # a valid pair carries nothing and is checked rarely
    SUSPECT = "suspect"  # what was sent on the selected pair stays unanswered
    FAILED = "failed"
    CLOSED = "closed"


class FailureReason(Enum):
    """Why an agent failed, or why it is looking for a path again."""

    NO_PATH = "no path"  # every pair was checked in vain, and no candidate may still come
    CONSENT_EXPIRED = "consent expired"  # RFC 7675 5.1: the path was valid and went silent


class RestartReason(Enum):
    """Why a new generation has begun."""

    REQUESTED = "asked for"
    NETWORK_CHANGED = "the network changed"
    RESUMED = "this machine was asleep"
    SUSPECT = "the path went silent"
    CONSENT_EXPIRED = "the path is dead"
    UPGRADE = "a better path was found"  # where the other side can't switch without a restart
    PEER = "the other side restarted"


class DropReason(Enum):
    """Why a datagram or a candidate was dropped. Counted in `Agent.drops`, shown by `status`."""

    CLOSED = "the agent is closed"
    UNKNOWN_SOCKET = "came to an unknown socket"
    REFUSED_SOURCE = "address that isn't allowed"
    NOT_STUN = "no STUN message"
    MALFORMED = "malformed"
    NOT_BINDING = "STUN, but no binding"
    INDICATION = "indication, which asks for nothing"  # a keepalive of the other side: no harm, no use
    NO_FINGERPRINT = "check without a fingerprint"
    BAD_REQUEST = "check that lacks something"
    UNAUTHENTICATED = "not authentic"
    UNKNOWN_ATTRIBUTE = "check with an unknown attribute"
    ROLE_CONFLICT = "check that conflicts with our role"
    UNKNOWN_TRANSACTION = "answers nothing that we asked"
    FOREIGN_GENERATION = "of another generation"
    TOO_MANY = "too many candidates or checks"
    UNWANTED_RELAY = "relay of the other side, which isn't wanted"


@dataclass(frozen=True, slots=True)
class CandidateGathered:
    """A local candidate was found: tell the other side."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class CandidateChanged:
    """The NAT gave a binding another address: `old` is gone; tell the other side about `new` instead."""

    old: Candidate
    new: Candidate


@dataclass(frozen=True, slots=True)
class CandidateRemoved:
    """A local candidate is gone while its socket stays: a gateway forwards it no longer."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class GatheringCompleted:
    """Every server has answered on every local address or was given up: tell the other side end-of-candidates.

    It comes in every generation, since each has an end of its own (RFC 8838 13).
    """


@dataclass(frozen=True, slots=True)
class SparesWanted:
    """The port search wants `count` more sockets on the address of `base`: tell each by `Agent.add_spare_address`."""

    base: Endpoint
    count: int


@dataclass(frozen=True, slots=True)
class SparesReleased:
    """These sockets aren't wanted any more: close them and tell `Agent.remove_local_address`."""

    bases: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A role conflict was resolved against us (RFC 8445 7.3.1.1)."""

    role: Role


@dataclass(frozen=True, slots=True)
class Restarted:
    """A new generation has begun (RFC 8445 9): tell the other side its `credentials`, and all local candidates anew."""

    credentials: Credentials
    reason: RestartReason


@dataclass(frozen=True, slots=True)
class PairSelected:
    """Send data from the socket bound to `base` to `destination` from now on.

    Comes at the first valid pair, and again at each move: a better one is valid, one is nominated, one went silent.

    Attributes:
        local: The local candidate of the valid pair: what the other side sees us as.
        remote: The remote candidate.
        rtt: The measured round trip in seconds; None while every check was retransmitted.
        is_nominated: Whether both sides have settled on it (RFC 8445 8.1.1).
    """

    local: Candidate
    remote: Candidate
    base: Endpoint
    destination: Endpoint
    rtt: float | None
    is_nominated: bool


@dataclass(frozen=True, slots=True)
class StandbyChanged:
    """Another pair, or none, stands ready to take over when the selected one goes silent."""

    standby: PairSelected | None


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The agent entered `state`; `reason` says why when that is FAILED, or CHECKING after a path was lost."""

    state: AgentState
    reason: FailureReason | None = None


Event: TypeAlias = (
    CandidateGathered
    | CandidateChanged
    | CandidateRemoved
    | GatheringCompleted
    | SparesWanted
    | SparesReleased
    | RoleChanged
    | Restarted
    | PairSelected
    | StandbyChanged
    | StateChanged
)
