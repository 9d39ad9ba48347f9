"""What an agent can be told once: timing, bounds and refused networks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from p2ptun.errors import ConfigError
from p2ptun.ice.nat_hint import NO_HINT, NatHint
from p2ptun.ice.pacer import MIN_PACE
from p2ptun.ice.scope import DEFAULT_REFUSED_NETWORKS
from p2ptun.types import IPNetwork

DEFAULT_PACE = 0.02  # our choice of Ta until connected: people are waiting
CONNECTED_PACE = 0.05  # RFC 8445 14.2: the default Ta
CHECK_RTO = 0.5  # RFC 8445 14.3: the smallest RTO of a check whose round trip isn't known
PAC_TIMEOUT = 39.5  # RFC 8863 4: as long as one transaction (RFC 8489 6.2.1)
MAX_PAIRS = 100  # RFC 8445 6.1.2.5

CONSENT_INTERVAL = 5.0  # RFC 7675 5.1, randomized by CONSENT_JITTER
CONSENT_JITTER = (0.8, 1.2)
CONSENT_TIMEOUT = 30.0  # RFC 7675 5.1


class PathPolicy(Enum):
    """Which paths a person wants."""

    ANY = "any"  # direct where that works, through a relay where it doesn't
    DIRECT = "direct"  # no relay of ours, and none of the peer's
    RELAY = "relay"  # through a relay of ours only: the peer learns no other address of this machine


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Settings of an agent; durations are in seconds.

    Attributes:
        pace: Ta, the time between two new checks, until a pair is valid.
        connected_pace: Ta from then on.
        pac_timeout: How long to be patient before the agent may fail (RFC 8863). While people carry descriptions
            about by hand, this wants to be minutes: until it is over, pairs that timed out are checked again.
        consent_interval: Between two consent checks while traffic is sent.
        consent_timeout: Consent is lost when no answer came for so long.
        idle_after: Without traffic sent for so long, the path is idle.
        idle_interval: Between two checks of an idle path: below the shortest usual life of a NAT binding.
        probe_interval: Between two checks of a suspect path.
        binding_interval: Shortest and longest time between two keepalives of a binding at a STUN server.
        standby_interval: Between two checks of the pair that stands ready beside a path in use.
        upgrade_interval: Shortest and longest time between two searches for a better pair, while the path is in use.
        retry_interval: Shortest and longest pause before pairs that stayed unanswered are checked again, once a path
            was lost: the longest keeps NAT bindings open.
        persistence: How long pairs are checked every second at least though nothing was heard of the peer, which may
            not have begun yet: people take their time. Shorter when `pac_timeout` ends before.
        restart_interval: Least time between two restarts of our own accord.
        grace: How long an old generation answers checks after a pair of the new one was nominated.
        max_delaying_copies: How often a check of a better pair is sent before it delays nomination no more.
        max_pairs: Bound of the check list.
        max_candidates: Bound of local, of signalled and of peer-reflexive candidates, each, and of early checks.
        max_servers: Bound of STUN servers.
        path_policy: Which paths may be taken.
        hard_nat: Whether to take part in a port search where ordinary checks find no direct path.
        refused_networks: Remote candidates inside are dropped, as are packets that come from there. Add the prefixes
            of every tunnel, so that no tunnel ever runs through another.
    """

    pace: float = DEFAULT_PACE
    connected_pace: float = CONNECTED_PACE
    pac_timeout: float = PAC_TIMEOUT
    consent_interval: float = CONSENT_INTERVAL
    consent_timeout: float = CONSENT_TIMEOUT
    idle_after: float = 15.0
    idle_interval: float = 25.0
    probe_interval: float = 0.5
    binding_interval: tuple[float, float] = (15.0, 25.0)
    standby_interval: float = 10.0
    upgrade_interval: tuple[float, float] = (2.0, 120.0)
    retry_interval: tuple[float, float] = (1.0, 15.0)
    persistence: float = 300.0
    restart_interval: float = 5.0
    grace: float = 10.0
    max_delaying_copies: int = 4
    max_pairs: int = MAX_PAIRS
    max_candidates: int = 32
    max_servers: int = 16
    path_policy: PathPolicy = PathPolicy.ANY
    hard_nat: bool = True
    refused_networks: tuple[IPNetwork, ...] = DEFAULT_REFUSED_NETWORKS

    def __post_init__(self) -> None:
        if min(self.pace, self.connected_pace) < MIN_PACE:
            raise ConfigError("", "pace", f"must be {MIN_PACE * 1000:.0f} ms at least")


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """What the other side told of its implementation.

    Attributes:
        is_lite: It only answers checks (RFC 8445 2.5): we are the controlling side.
        has_renomination: It follows a later nomination without a restart (draft-thatcher-ice-renomination).
        nat: What it knows of its NAT.
    """

    is_lite: bool = False
    has_renomination: bool = False
    nat: NatHint = NO_HINT
