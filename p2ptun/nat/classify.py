"""From what servers saw to the terms of RFC 4787. Functions of values, that know no probes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Final

from p2ptun.nat.behavior import Allocation, Filtering, Mapping, PortAllocation
from p2ptun.types import Endpoint

MIN_STEPS: Final = 3  # our choice: fewer steps between ports are no rule
MAX_DELTA: Final = 64  # our choice: a longer step isn't worth guessing after


def classify_mapping(seen: MappingOf[Endpoint, Endpoint]) -> Mapping | None:
    """Judge by where servers, each at its endpoint, saw one socket (RFC 5780 4.3, for any number of servers).

    Servers with two addresses and two ports tell all. Of others, two with different addresses tell whether the mapping
    is endpoint-independent, and not more.
    """
    alike, apart = _compare(seen, has_one_address=True), _compare(seen, has_one_address=False)
    if False in alike:
        return Mapping.ADDRESS_AND_PORT_DEPENDENT
    if False in apart:
        return Mapping.ADDRESS_DEPENDENT if alike else Mapping.DEPENDENT
    return Mapping.ENDPOINT_INDEPENDENT if apart else None


def _compare(seen: MappingOf[Endpoint, Endpoint], has_one_address: bool) -> set[bool]:
    """Tell of all pairs of endpoints, on one address or on two, whether both saw the same."""
    return {
        seen[one] == seen[other]
        for one, other in combinations(seen, 2)
        if (one.address == other.address) == has_one_address
    }


def classify_filtering(admits_stranger: bool | None, admits_other_port: bool | None) -> Filtering | None:
    """Judge by whom a socket received from that had contacted one endpoint only (RFC 5780 4.4).

    A stranger has another address and another port; the other port is one on the contacted address.
    """
    if admits_stranger:
        return Filtering.ENDPOINT_INDEPENDENT
    if admits_stranger is None or admits_other_port is None:
        return None
    return Filtering.ADDRESS_DEPENDENT if admits_other_port else Filtering.ADDRESS_AND_PORT_DEPENDENT


def openest(filterings: Sequence[Filtering | None]) -> Filtering | None:
    """Join what several servers found: who was let in was let in; who wasn't may have had a server's own reasons."""
    return next((each for each in Filtering if each in filterings), None)


def classify_ports(bindings: Sequence[int | None], preserves_port: bool | None) -> PortAllocation | None:
    """Judge by the public ports of bindings in the order in which they were made; None where one isn't known.

    `preserves_port` says whether all of them have the port of their socket.
    """
    if preserves_port:
        return PortAllocation(Allocation.PRESERVING)
    steps = [after - before for before, after in pairwise(bindings) if before is not None and after is not None]
    if len(steps) < MIN_STEPS:
        return None
    delta, count = Counter(steps).most_common(1)[0]
    if 0 < abs(delta) <= MAX_DELTA and 2 * count > len(steps):
        return PortAllocation(Allocation.SEQUENTIAL, delta, count == len(steps))
    leaps = sum(abs(step) > MAX_DELTA for step in steps)
    # short steps without a rule: the network has changed the order, or other hosts had the ports between
    return PortAllocation(Allocation.RANDOM) if 2 * leaps > len(steps) else None
