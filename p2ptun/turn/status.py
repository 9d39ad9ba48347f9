"""What can be shown of an allocation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from p2ptun.turn.event import Problem
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint


class AllocationState(Enum):
    """Where an allocation stands."""

    ASKED = "asked"
    READY = "ready"
    REPLACED = "replaced"  # another one serves already; this one ends soon
    STANDBY = "not needed"  # the server isn't asked, since others serve
    FAILED = "failed"  # it will be tried again


@dataclass(frozen=True, slots=True)
class AllocationStatus:
    """One allocation, or one server that has none.

    Attributes:
        relayed: Its addresses: one, or one of each family.
        mapped: Where the server sees us.
        rtt: The last measured round trip to the server, in seconds.
        expires_at: When it ends unless it is prolonged, in seconds of `now`.
        problem: Why the last attempt at this server failed; None after one succeeded.
    """

    server: Server
    state: AllocationState
    relayed: tuple[Endpoint, ...] = ()
    mapped: Endpoint | None = None
    rtt: float | None = None
    expires_at: float | None = None
    problem: Problem | None = None
    code: int | None = None
