"""What a pool can be told once: timing and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Settings of a pool and its allocations; durations are in seconds.

    Attributes:
        max_allocations: How many servers hold an allocation for us at the same time; one more than one is a standby.
        max_servers: Bound of servers.
        max_peers: Bound of the peers that an allocation lets in.
        max_queued: Bound of the messages with data that wait to be sent.
        stagger: Between two attempts, until there are enough allocations (RFC 8305 5, for servers).
        retry_interval: Shortest and longest pause before a server that failed is tried again.
        refusal_interval: The same after a server has answered no (RFC 8656 7.4: a minute at least after 486 and 508).
        stable_after: An allocation that lived for so long shows that its server works.
        keepalive_interval: Shortest and longest time between two Refresh requests.
        keepalive_patience: How long a Refresh may stay unanswered before the server counts as lost.
        probe_patience: The same when somebody suspects it already.
        upgrade_interval: Shortest and longest time between two attempts at a better transport than the one that works.
        grace: How long an allocation is ours beside the one that took its place.
        linger: How long it goes on to bring what peers send that don't know yet.
        credential_margin: How long before a credential expires the next one is asked for.
        credential_interval: Least time between two such questions.
    """

    max_allocations: int = 2
    max_servers: int = 16
    max_peers: int = 256
    max_queued: int = 256
    stagger: float = 0.25
    retry_interval: tuple[float, float] = (1.0, 120.0)
    refusal_interval: tuple[float, float] = (60.0, 600.0)
    stable_after: float = 30.0
    keepalive_interval: tuple[float, float] = (15.0, 25.0)
    keepalive_patience: float = 10.0
    probe_patience: float = 2.5
    upgrade_interval: tuple[float, float] = (30.0, 300.0)
    grace: float = 20.0
    linger: float = 10.0
    credential_margin: float = 300.0
    credential_interval: float = 30.0


DEFAULT_CONFIG: Final = PoolConfig()
