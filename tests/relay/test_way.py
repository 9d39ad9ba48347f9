"""The tables of the fast path."""

from __future__ import annotations

from p2ptun.relay.allocation import Allocation, Channel, Relay
from p2ptun.relay.meter import Meter
from p2ptun.relay.way import Inward, Outward, Ways
from p2ptun.stun.message import TransactionId
from p2ptun.types import Endpoint
from tests.relay.world import ALICE, LISTENER, PEER

RELAYED = Endpoint.of("203.0.113.1", 50000)
OTHER = Endpoint.of("192.0.2.10", 1)


def allocation() -> Allocation:
    return Allocation(ALICE, LISTENER, "alice", TransactionId(b"t" * 12), (), (RELAYED,), Meter(0))


def test_a_way_is_open_until_it_is_closed() -> None:
    ways, owner = Ways(), allocation()
    relay = Relay(owner, RELAYED, 0.0)
    first, second = Channel(owner, 0x4000, PEER, 0.0), Channel(owner, 0x4001, OTHER, 0.0)
    for channel in (first, second, first):
        ways.open(channel, relay)
    assert (len(ways), ways.version) == (2, 2)
    assert ways.outward(ALICE, LISTENER, 0x4000) == Outward(RELAYED, PEER, owner.meter)
    assert ways.inward(RELAYED, PEER) == Inward(ALICE, LISTENER, 0x4000, False, owner.meter)
    assert ways.outward(ALICE, LISTENER, 0x4000) is ways.outward(ALICE, LISTENER, 0x4000)  # no object is made
    for channel in (first, first, second, second):
        ways.close(channel)
    assert (len(ways), ways.version) == (0, 4)
    assert ways.outward(ALICE, LISTENER, 0x4000) is None
    assert ways.inward(RELAYED, PEER) is None


def test_a_way_tells_nothing_of_its_meter() -> None:
    assert "meter" not in repr(Outward(RELAYED, PEER, Meter(0)))
    assert Outward(RELAYED, PEER, Meter(0)) == Outward(RELAYED, PEER, Meter(1))
