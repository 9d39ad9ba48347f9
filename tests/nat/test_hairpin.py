"""Two sockets that look for each other through the NAT."""

from __future__ import annotations

import random

import pytest

from p2ptun.nat.hairpin import Hairpin, Seen
from p2ptun.nat.probe import Exchange
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import decode_message, success_response
from p2ptun.types import Endpoint
from tests.nat.world import NOW, OUTSIDE, SERVER, sockets

ONE, OTHER = (Seen(base, Endpoint.of(OUTSIDE, 40000 + n)) for n, base in enumerate(sockets(count=10)[:2]))


@pytest.mark.parametrize(
    ("reached", "has_server", "expected"),
    [
        ({ONE.mapped, OTHER.mapped}, True, True),
        ({ONE.mapped}, True, True),  # one way is enough
        ({OTHER.mapped}, False, True),
        (set[Endpoint](), True, False),
        (set[Endpoint](), False, None),
    ],
)
def test_who_is_reached(reached: set[Endpoint], has_server: bool, expected: bool | None) -> None:
    exchange = Exchange(random.Random(1).randbytes)
    hairpin = Hairpin(exchange, SERVER, ONE, OTHER, NOW)
    owners = {each.mapped: each.base for each in (ONE, OTHER)}
    for step in range(300):
        now = NOW + step / 100
        exchange.handle_timeout(now)
        for transmit in iter(exchange.next_transmit, None):
            request = decode_message(transmit.payload)
            if transmit.destination == SERVER:
                answer = success_response(request, (XOR_MAPPED_ADDRESS, transmit.source))
                if has_server:
                    assert exchange.receive(answer, SERVER, transmit.source, now) is None
            elif transmit.destination in reached:
                source = next(each.mapped for each in (ONE, OTHER) if each.base == transmit.source)
                assert exchange.receive(request, source, owners[transmit.destination], now) is None
        hairpin.settle(now)
    assert exchange.is_over
    assert hairpin.verdict is expected
