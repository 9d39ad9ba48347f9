"""What a node tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.ice import event as ice
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.named import NamedCandidate, ToldCandidate
from p2ptun.node.path import Path
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint


class PeerState(Enum):
    """Where a peer stands, in words that users read."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    SUSPECT = "suspect"
    IDLE = "idle"
    FAILED = "failed"


class FailureReason(Enum):
    """Why a peer failed, or why it is connecting again, in words that users read."""

    NO_PATH = "no pair of addresses works between the two sides"
    CONSENT_EXPIRED = "the path is dead: nothing came back for 30 s"
    HANDSHAKE_FAILED = "there is a path, but the two sides could not agree on keys"
    PEER_CLOSED = "the other side closed the tunnel"


STATES = {
    ice.AgentState.NEW: PeerState.CONNECTING,
    ice.AgentState.CHECKING: PeerState.CONNECTING,
    ice.AgentState.CONNECTED: PeerState.CONNECTED,
    ice.AgentState.IDLE: PeerState.IDLE,
    ice.AgentState.SUSPECT: PeerState.SUSPECT,
}
"""What an agent's state means for a peer that has keys."""

REASONS = {
    ice.FailureReason.NO_PATH: FailureReason.NO_PATH,
    ice.FailureReason.CONSENT_EXPIRED: FailureReason.CONSENT_EXPIRED,
}


@dataclass(frozen=True, slots=True)
class LocalCandidateFound:
    """A local candidate was gathered, or (`replaced`) its public address changed."""

    candidate: Candidate
    replaced: Candidate | None = None


@dataclass(frozen=True, slots=True)
class LocalCandidateRemoved:
    """A local candidate is gone with its socket."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class GatheringCompleted:
    """Every server has answered or was given up."""


@dataclass(frozen=True, slots=True)
class RemoteCandidateFound:
    """The other side told a candidate that we may use."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class RemoteCandidateRemoved:
    """The other side no longer has a candidate."""

    candidate: ToldCandidate


@dataclass(frozen=True, slots=True)
class RemoteNameFound:
    """The other side told a candidate by name: find its address and tell it to `Peer.resolve`."""

    candidate: NamedCandidate


@dataclass(frozen=True, slots=True)
class PeerHeard:
    """The other side has checked us for the first time, with our password: it has our description."""


@dataclass(frozen=True, slots=True)
class PeerStateChanged:
    """The peer is in another state; `reason` says why it failed, or is connecting again."""

    state: PeerState
    reason: FailureReason | None = None


@dataclass(frozen=True, slots=True)
class PathSelected:
    """Traffic takes this path from now on."""

    path: Path


@dataclass(frozen=True, slots=True)
class StandbySelected:
    """Another path, or none, stands ready to take over when the selected one goes silent."""

    path: Path | None


@dataclass(frozen=True, slots=True)
class PeerRestarted:
    """Both sides look for a path anew (RFC 8445 9), while the old one carries traffic as long as it works."""

    generation: int
    reason: ice.RestartReason


@dataclass(frozen=True, slots=True)
class PeerRekeyed:
    """The session has new keys."""


PeerEvent: TypeAlias = (
    LocalCandidateFound
    | LocalCandidateRemoved
    | GatheringCompleted
    | RemoteCandidateFound
    | RemoteCandidateRemoved
    | RemoteNameFound
    | PeerHeard
    | PeerStateChanged
    | PathSelected
    | StandbySelected
    | PeerRestarted
    | PeerRekeyed
)


def translated(event: ice.Event) -> PeerEvent | None:
    """Say in a peer's words what its agent told; None for what isn't its owner's business, or takes more than words."""
    match event:
        case ice.CandidateGathered(candidate):
            return LocalCandidateFound(candidate)
        case ice.CandidateChanged(old, new):
            return LocalCandidateFound(new, replaced=old)
        case ice.CandidateRemoved(candidate):
            return LocalCandidateRemoved(candidate)
        case ice.GatheringCompleted():
            return GatheringCompleted()
        case ice.Restarted(credentials, reason):
            return PeerRestarted(credentials.generation, reason)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class RelayFound:
    """A server relays for us at an address of its own."""

    server: Server
    relayed: Endpoint


@dataclass(frozen=True, slots=True)
class RelayLost:
    """A server relays for us no longer; `reason` is a part of a sentence for people."""

    server: Server
    relayed: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class RelayRefused:
    """A server can't be used for now; `reason` is a part of a sentence for people, `code` what it said."""

    server: Server
    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class CredentialWanted:
    """The credential for the server of this name runs out: give a new one to `Node.set_turn_credential`."""

    name: str


RelayEvent: TypeAlias = RelayFound | RelayLost | RelayRefused | CredentialWanted


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """An event of one peer, by its name; of the relays, which all share, when that is empty."""

    peer: str
    event: PeerEvent | RelayEvent
