"""Where to send when nobody knows the right port: mappings that depend on the destination, seen from both sides.

A check can't be sent to a mapping that doesn't exist before somebody sends to where nobody has looked yet. But one side
may make many mappings, and the other guess at their ports: with 256 mappings among 64,512 ports, 1,000 guesses meet one
in 98 of 100 cases, 2,000 in all but 4 of 10,000. And NATs that count can be foretold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum
from itertools import chain, count, islice, repeat

from p2ptun.ice.nat_hint import MappingKind, NatHint
from p2ptun.types import Endpoint, RandomBytes

FIRST_PORT = 1024  # below it no NAT makes mappings for ports above it: RFC 4787 4.2.2
LAST_PORT = 65535

FORETOLD = 64  # ports that are guessed first where a NAT counts: other traffic may have taken some
BLOCK = 8  # packets for which the controlled side assumes the same drift


class Approach(Enum):
    """What one side does."""

    OPEN = "open"  # make mappings towards the other side's endpoint, from many sockets
    GUESS = "guess"  # send to many ports of the other side's address
    FORETELL = "foretell"  # both NATs count: meet where the next mappings will be


def choose_approach(ours: NatHint, theirs: NatHint) -> Approach | None:
    """Choose what we do; None where nothing is to be gained, or either side doesn't want it."""
    if not (ours.has_search and theirs.has_search):
        return None
    is_hard, meets_hard = ours.mapping is MappingKind.DEPENDENT, theirs.mapping is MappingKind.DEPENDENT
    if is_hard and meets_hard:
        return Approach.FORETELL if ours.delta and theirs.delta else None
    if is_hard:
        return Approach.OPEN
    return Approach.GUESS if meets_hard else None


def guesses(seen: Sequence[Endpoint], delta: int, random_bytes: RandomBytes) -> Iterator[Endpoint]:
    """Give endpoints at which the other side may be, none twice: foretold ones, then all in a random order.

    `seen` are endpoints at which servers saw it, in the order of its mappings; several addresses take turns.
    """
    latest = {endpoint.address: endpoint for endpoint in seen}
    ahead = [_foretold(endpoint, delta) for endpoint in latest.values() if delta]
    ports = ([replace(endpoint, port=port) for endpoint in latest.values()] for port in _shuffled(random_bytes))
    told = dict.fromkeys(seen)
    for guess in chain(_in_turns(ahead), chain.from_iterable(ports)):
        if guess not in told:
            told[guess] = None
            yield guess


def meeting_points(latest: Endpoint, delta: int, *, is_steady: bool) -> Iterator[Endpoint]:
    """Give where the other side's next mappings will be, one for each mapping that we make by sending there.

    Two packets have to meet: each goes to the mapping that the other makes. The steady side counts from what it was
    told; the other one tries by how many mappings the two NATs together may be ahead of that, for a block of packets
    each. Never twice the same endpoint: that would make no mapping, and the count would be wrong.
    """
    drifts = repeat(0) if is_steady else (number // BLOCK for number in count())
    return (
        replace(latest, port=_wrapped(latest.port + delta * (number + drift)))
        for number, drift in zip(count(1), drifts, strict=False)
    )


def _foretold(latest: Endpoint, delta: int) -> Iterator[Endpoint]:
    return (replace(latest, port=_wrapped(latest.port + delta * number)) for number in range(1, FORETOLD + 1))


def _in_turns(streams: Sequence[Iterator[Endpoint]]) -> Iterator[Endpoint]:
    return chain.from_iterable(zip(*streams, strict=True)) if streams else iter(())


def _wrapped(port: int) -> int:
    return FIRST_PORT + (port - FIRST_PORT) % (LAST_PORT - FIRST_PORT + 1)


def _shuffled(random_bytes: RandomBytes) -> Iterator[int]:
    """Give every port once, in one of many orders: a linear congruence of full period (Hull and Dobell)."""
    multiplier = int.from_bytes(random_bytes(2), "big") & ~3 | 1
    step = int.from_bytes(random_bytes(2), "big") | 1
    port = int.from_bytes(random_bytes(2), "big")
    for _ in islice(count(), 1 << 16):
        if port >= FIRST_PORT:
            yield port
        port = (multiplier * port + step) & 0xFFFF
