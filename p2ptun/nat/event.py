"""What the machines tell their owner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.nat.behavior import Lifetime, NatBehavior
from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class ServerAnswered:
    """A server told where it saw us; `rtt` in seconds. `other` is the second address by which it helps (RFC 5780)."""

    server: Endpoint
    mapped: Endpoint
    rtt: float
    other: Endpoint | None


@dataclass(frozen=True, slots=True)
class ServerSilent:
    """A server gave no usable answer to any copy; `refusal` is the code of its error, if that is what it gave."""

    server: Endpoint
    refusal: int | None


@dataclass(frozen=True, slots=True)
class BehaviorDiscovered:
    """All tests are over."""

    behavior: NatBehavior


DiscoveryEvent: TypeAlias = ServerAnswered | ServerSilent | BehaviorDiscovered


class LifetimeProblem(Enum):
    """Why a binding's lifetime can't be measured."""

    NO_ANSWER = "the server doesn't answer"
    NO_RESPONSE_PORT = "the server doesn't answer to another port, or the NAT has several addresses"


@dataclass(frozen=True, slots=True)
class LifetimeNarrowed:
    """A binding is known to live so long, and perhaps not longer than so."""

    lifetime: Lifetime


@dataclass(frozen=True, slots=True)
class LifetimeMeasured:
    """It is over: `lifetime` is as narrow as it gets, or None because of `problem`."""

    lifetime: Lifetime | None
    problem: LifetimeProblem | None = None


LifetimeEvent: TypeAlias = LifetimeNarrowed | LifetimeMeasured
