"""The simulator's NATs do what RFC 4787 calls them, and its network is the same in every run."""

from __future__ import annotations

import pytest

from p2ptun.types import Endpoint
from tests.node.world import World

from .nat import FIRST_PORT, Behaviour, Nat
from .network import START, Network, at

INSIDE = at("192.168.1.2:5000")
SAME, OTHER_PORT, OTHER = at("198.51.100.1:1"), at("198.51.100.1:2"), at("198.51.100.2:1")

# how alike two remotes are -> which behaviours tell them apart
TELLS_APART = {
    SAME: set[Behaviour](),
    OTHER_PORT: {Behaviour.ADDRESS_AND_PORT_DEPENDENT},
    OTHER: {Behaviour.ADDRESS_AND_PORT_DEPENDENT, Behaviour.ADDRESS_DEPENDENT},
}


@pytest.mark.parametrize("remote", list(TELLS_APART), ids=str)
@pytest.mark.parametrize("filtering", list(Behaviour))
@pytest.mark.parametrize("mapping", list(Behaviour))
def test_mapping_and_filtering(mapping: Behaviour, filtering: Behaviour, remote: Endpoint) -> None:
    nat = Nat("203.0.113.1", "192.168.0.0/16", mapping, filtering)
    first = nat.outbound(INSIDE, SAME, START)
    assert (first.address, first.port) == (nat.address, FIRST_PORT)
    passes = nat.inbound(first.port, remote, START) == INSIDE
    assert passes is (filtering not in TELLS_APART[remote])
    assert (nat.outbound(INSIDE, remote, START) == first) is (mapping not in TELLS_APART[remote])


def test_bindings_die_of_silence_and_of_a_reboot() -> None:
    nat = Nat("203.0.113.1", "192.168.0.0/16", lifetime=30.0)
    first = nat.outbound(INSIDE, SAME, START)
    assert nat.outbound(INSIDE, SAME, START + 30) == first
    assert nat.inbound(first.port, SAME, START + 60) == INSIDE
    assert nat.inbound(first.port, SAME, START + 61) is None, "what comes in keeps nothing alive"
    second = nat.outbound(INSIDE, SAME, START + 61)
    assert second != first
    nat.reboot()
    assert nat.inbound(second.port, SAME, START + 61) is None
    assert nat.outbound(INSIDE, SAME, START + 61) not in (first, second)


def test_a_nat_covers_its_own_network_only() -> None:
    nat = Nat("203.0.113.1", "192.168.0.0/16")
    assert nat.covers(INSIDE.address)
    assert not nat.covers(SAME.address)
    assert not nat.covers(at("[2001:db8::1]:1").address)


def traffic(seed: int) -> list[tuple[float, bytes]]:
    world = World(seed, loss=0.2)
    world.network.jitter, world.network.repetition = 0.03, 0.1
    world.tell_bob()
    world.tell_alice()
    world.talk(20)
    return [(each.at, each.packet.payload) for each in world.network.log]


def test_a_seed_decides_everything() -> None:
    assert traffic(3) == traffic(3)
    assert traffic(3) != traffic(4)


def test_loss_is_about_what_was_asked_for() -> None:
    world = World(5).connect()
    world.network.loss = 0.5
    before = len(world.network.log)
    world.talk(20, 0.05)
    sent = len(world.network.log) - before
    assert 0.4 * sent < world.network.lost["loss"] < 0.6 * sent
    assert Network().lost == {}
