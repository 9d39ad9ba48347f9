"""How a NAT behaves, in the terms of RFC 4787, and what follows from it for a pair of NATs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import product

from p2ptun.types import IPAddress


class Mapping(Enum):
    """Whether one socket inside has one address and port outside, whomever it talks to (RFC 4787 4.1)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    DEPENDENT = "dependent"  # one of the two above: servers with one address each can't tell which

    @property
    def is_dependent(self) -> bool:
        """Tell whether what a STUN server sees is of no use to others."""
        return self is not Mapping.ENDPOINT_INDEPENDENT

    @property
    def meaning(self) -> str:
        """Say it in plain words."""
        return _MAPPINGS[self]


class Filtering(Enum):
    """From whom a socket inside receives (RFC 4787 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"

    @property
    def meaning(self) -> str:
        """Say it in plain words."""
        return _FILTERINGS[self]


_MAPPINGS = {
    Mapping.ENDPOINT_INDEPENDENT: "one public port, whatever the destination",
    Mapping.ADDRESS_DEPENDENT: "another public port for every destination address",
    Mapping.ADDRESS_AND_PORT_DEPENDENT: "another public port for every destination",
    Mapping.DEPENDENT: "other public ports for other destinations",
}

_FILTERINGS = {
    Filtering.ENDPOINT_INDEPENDENT: "lets everybody in through an open port",
    Filtering.ADDRESS_DEPENDENT: "lets in the addresses that were contacted",
    Filtering.ADDRESS_AND_PORT_DEPENDENT: "lets in only who was contacted",
}


class Allocation(Enum):
    """How the port of a new binding is chosen (RFC 4787 4.2.1)."""

    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class PortAllocation:
    """How ports of new bindings follow each other.

    Attributes:
        kind: The rule.
        delta: The step from one new binding to the next, when sequential.
        is_consistent: Whether every step was `delta`; if not, most were, and other hosts may have had the rest.
    """

    kind: Allocation
    delta: int | None = None
    is_consistent: bool = True


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a binding lives without traffic, in seconds: `at_least`, and less than `at_most` where that is known."""

    at_least: float
    at_most: float | None


@dataclass(frozen=True, slots=True)
class NatBehavior:
    """What is known of everything between one address of this machine and the internet. None is unknown.

    Several NATs in a row look like one. Without one, mapping is endpoint-independent and filtering a firewall's.

    Attributes:
        local: The address of this machine.
        public: The addresses that servers saw.
        has_nat: Whether any of them, or a port, differs from ours.
        mapping: See `Mapping`.
        filtering: See `Filtering`.
        allocation: How ports of new bindings follow each other.
        preserves_port: Whether the first binding of a socket has the socket's own port.
        hairpins: Whether two hosts inside reach each other at their public addresses (RFC 4787 6).
        sends_fragments: Whether a datagram in fragments gets out (RFC 4787 10).
        receives_fragments: Whether one gets in (RFC 4787 11).
        lifetime: Of a binding; measured on demand only.
    """

    local: IPAddress
    public: tuple[IPAddress, ...] = ()
    has_nat: bool | None = None
    mapping: Mapping | None = None
    filtering: Filtering | None = None
    allocation: PortAllocation | None = None
    preserves_port: bool | None = None
    hairpins: bool | None = None
    sends_fragments: bool | None = None
    receives_fragments: bool | None = None
    lifetime: Lifetime | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether anybody reaches a socket here without having been contacted."""
        return self.filtering is Filtering.ENDPOINT_INDEPENDENT and self.mapping is Mapping.ENDPOINT_INDEPENDENT

    @property
    def is_hard(self) -> bool:
        """Tell whether others can't know which port to send to: what is called a symmetric NAT."""
        return self.mapping is not None and self.mapping.is_dependent

    @property
    def is_predictable(self) -> bool:
        """Tell whether the port of the next binding can be guessed (RFC 5128 3.4)."""
        return self.allocation is not None and self.allocation.kind is not Allocation.RANDOM

    @property
    def port_delta(self) -> int | None:
        """The step from one new binding's port to the next one's, when there is such a rule."""
        return None if self.allocation is None else self.allocation.delta


def can_meet(one: NatBehavior, other: NatBehavior) -> bool | None:
    """Tell whether ICE joins two sides directly without guessing ports; None when too little is known.

    A check counts only when its answer comes from where it went to (RFC 8445 7.2.5.2.1). So a dependent mapping is no
    harm as long as the other side's is independent, and lets in a port of a known address from which nothing was
    expected. With both dependent, one has to let in everybody and the other one any port of a known address, and one
    of them has to keep its port towards another port of that address.
    """
    answers = {_meet(*pair) for pair in product(product(*_possible(one)), product(*_possible(other)))}
    return answers.pop() if len(answers) == 1 else None


def _possible(behavior: NatBehavior) -> tuple[tuple[Mapping, ...], tuple[Filtering, ...]]:
    """List what mapping and filtering may be."""
    either = Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT
    mappings: tuple[Mapping, ...] = (behavior.mapping,) if behavior.mapping else (Mapping.ENDPOINT_INDEPENDENT, *either)
    if behavior.mapping is Mapping.DEPENDENT:
        mappings = either
    return mappings, (behavior.filtering,) if behavior.filtering else tuple(Filtering)


def _meet(one: tuple[Mapping, Filtering], other: tuple[Mapping, Filtering]) -> bool:
    strict = Filtering.ADDRESS_AND_PORT_DEPENDENT
    if not one[0].is_dependent:
        return not other[0].is_dependent or one[1] is not strict
    if not other[0].is_dependent:
        return other[1] is not strict
    return (
        Filtering.ENDPOINT_INDEPENDENT in (one[1], other[1])
        and strict not in (one[1], other[1])
        and Mapping.ADDRESS_DEPENDENT in (one[0], other[0])
    )
