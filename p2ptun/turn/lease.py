"""A client in the hands of the pool: for which server it was begun, and how far it got."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from p2ptun.turn.client import Client
from p2ptun.turn.event import Problem
from p2ptun.turn.host import Host
from p2ptun.turn.server import Server
from p2ptun.turn.status import AllocationState, AllocationStatus
from p2ptun.types import Endpoint, SendError

MAX_REDIRECTS: Final = 4  # our choice
MAX_FRESH_PORTS: Final = 3  # our choice: RFC 8656 7.4 sends us to another port after a 437, and each could be taken
FORGIVEN_REFUSALS: Final = 1
"""ICMP errors that an attempt over UDP survives: anybody can forge one, and the next attempt comes soon anyway."""

HINT_INTERVAL: Final = 1.0  # seconds; our choice, between two probes for such errors

PASSING_ERRORS: Final = frozenset(
    {SendError.WOULD_BLOCK, SendError.TOO_LARGE, SendError.NO_BUFFERS, SendError.REFUSED_BY_RELAY}
)
"""They say nothing about the way to the server."""

PROBLEMS: Final = {
    SendError.REFUSED: Problem.CONNECTION_REFUSED,
    SendError.TIMED_OUT: Problem.NO_ANSWER,
    SendError.UNTRUSTED: Problem.UNTRUSTED,
    SendError.THROUGH_TUNNEL: Problem.THROUGH_TUNNEL,
    SendError.OTHER: Problem.CONNECTION_LOST,
}
"""What else there is means UNREACHABLE."""


class Stage(Enum):
    """How far an allocation got."""

    TRYING = auto()
    SERVING = auto()
    RETIRING = auto()  # its successor serves already
    LEFT = auto()  # reported as lost; only what is on its way still comes


_STATES: Final = {
    Stage.TRYING: AllocationState.ASKED,
    Stage.SERVING: AllocationState.READY,
    Stage.RETIRING: AllocationState.REPLACED,
    Stage.LEFT: AllocationState.REPLACED,
}


@dataclass(slots=True, eq=False)
class Lease:
    """One client.

    Attributes:
        origin: The address of the host that it was begun for; after a redirection the client's own is another.
        trail: The servers that redirected us here.
        fresh_ports: How many sockets before this one met a 437.
        stage_ends_at: When a retiring one is left, and when one that was left goes.
    """

    client: Client
    host: Host
    origin: Server
    trail: tuple[Endpoint, ...] = ()
    fresh_ports: int = 0
    stage: Stage = Stage.TRYING
    serves_since: float = 0.0
    stage_ends_at: float | None = None
    refusals: int = 0
    hinted_at: float | None = None

    @property
    def relayed(self) -> tuple[Endpoint, ...]:
        """Our addresses over it."""
        return self.client.grant.relayed if self.client.grant else ()

    @property
    def status(self) -> AllocationStatus:
        """What people can know of it."""
        client, failure = self.client, self.host.failure
        return AllocationStatus(
            server=client.server,
            state=_STATES[self.stage],
            relayed=self.relayed,
            mapped=client.grant.mapped if client.grant else None,
            rtt=client.rtt,
            expires_at=client.expires_at,
            problem=failure.problem if failure else None,
            code=failure.code if failure else None,
        )

    def take_hint(self, now: float) -> bool:
        """Tell whether an unproven error shall make us ask the server; not too often, since they cost nothing."""
        if self.hinted_at is not None and now - self.hinted_at < HINT_INTERVAL:
            return False
        self.hinted_at = now
        return True

    def leads_in_circles(self, server: Endpoint) -> bool:
        """Tell whether we have been at `server`, or at too many, on the way here (RFC 8489 10)."""
        return server in (*self.trail, self.client.server.endpoint) or len(self.trail) >= MAX_REDIRECTS
