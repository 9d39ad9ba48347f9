"""A path: the pair of transport addresses that a peer's datagrams take, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.event import PairSelected
from p2ptun.types import Endpoint


class PathKind(Enum):
    """Whether somebody stands between the two peers."""

    DIRECT = "direct"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Path:
    """Where datagrams leave (`base`) and where they go (`destination`), and the candidates that stand there.

    `rtt` is the round-trip time of the last connectivity check, in seconds.
    """

    base: Endpoint
    destination: Endpoint
    local: Candidate
    remote: Candidate
    rtt: float | None

    @classmethod
    def of(cls, event: PairSelected) -> Path:
        """Build it from what the agent tells."""
        return cls(event.base, event.destination, event.local, event.remote, event.rtt)

    @property
    def kind(self) -> PathKind:
        """Tell whether a relay stands at either end."""
        return PathKind.RELAY if self.local.is_relayed or self.remote.is_relayed else PathKind.DIRECT

    def is_same_way(self, other: Path) -> bool:
        """Tell whether datagrams take the same way on both, whatever else is known of them."""
        return (self.base, self.destination) == (other.base, other.destination)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.destination} ({self.local.type.value}/{self.remote.type.value})"
