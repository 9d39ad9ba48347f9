"""Joining what servers found, where the network of `test_discovery` doesn't get."""

from __future__ import annotations

import random
from dataclasses import replace

from p2ptun.nat.behavior import Filtering, NatBehavior
from p2ptun.nat.discovery import Discovery
from p2ptun.nat.judgement import judge
from p2ptun.nat.probe import Exchange
from p2ptun.nat.survey import Posts, Survey
from p2ptun.types import Endpoint, Transmit
from tests.nat.world import INSIDE, NOW, OTHER, OUTSIDE, SERVER, World, sockets
from tests.sim.nat import Behaviour, Habit, Nat, Ports

EIM, APDM = Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_AND_PORT_DEPENDENT
SECOND, SECOND_OTHER = Endpoint.of("203.0.113.20", 3478), Endpoint.of("203.0.113.21", 3479)


def test_nothing_seen_is_nothing_known() -> None:
    base = sockets()[0]
    assert judge(base, [], [], None) == NatBehavior(base.address)
    survey = Survey(Exchange(random.Random(1).randbytes), SERVER, Posts(*sockets()[:3]), 0, NOW)
    assert judge(base, [survey], [], True) == NatBehavior(base.address)
    assert Discovery(sockets(), random.Random(1).randbytes).behavior == NatBehavior(base.address)


def test_of_two_servers_the_one_that_got_in_is_right() -> None:
    """The other one's strangers are silent for a reason of its own."""
    world = World(Nat(OUTSIDE, INSIDE, EIM, Behaviour.ENDPOINT_INDEPENDENT))
    world.serve()
    world.serve(SECOND, SECOND_OTHER)
    receiver = world.bases[3].port

    def is_cut(packet: Transmit) -> bool:
        return packet.source == SECOND_OTHER and packet.destination.port in ports

    ports = {40000 + world.bases.index(base) for base in world.bases if base.port == receiver}
    world.network.is_cut = is_cut
    assert world.explore(SERVER, SECOND).filtering is Filtering.ENDPOINT_INDEPENDENT


def test_what_one_fragment_test_shows_the_other_needn_t() -> None:
    world = World(Nat(OUTSIDE, INSIDE, EIM, APDM))
    world.network.core.mtu = 9000
    world.serve()
    world.serve(SECOND, SECOND_OTHER)
    world.network.is_cut = lambda packet: len(packet.payload) > 1472 and SECOND in (packet.source, packet.destination)
    behavior = world.explore(SERVER, SECOND)
    assert (behavior.sends_fragments, behavior.receives_fragments) == (True, True)


def test_a_port_that_was_taken_is_no_rule() -> None:
    """A NAT that keeps ports gives another one now and then."""
    nat = Nat(OUTSIDE, INSIDE, EIM, APDM, habit=Habit(ports=Ports.PRESERVED))
    world = World(nat)
    neighbour = Endpoint.of("192.168.1.99", world.bases[1].port)
    nat.outbound(neighbour, SERVER, NOW)
    world.serve()
    behavior = world.explore()
    assert behavior.preserves_port is True


def test_behind_a_nat_that_only_changes_ports() -> None:
    """A machine with the NAT's own address, as some carriers have it."""
    local = "198.51.100.7"
    world = World(Nat(local, "198.51.100.7/32", EIM, APDM), local=local)
    world.serve()
    behavior = world.explore()
    assert behavior.has_nat is True
    assert behavior.public == (behavior.local,)
    assert replace(behavior, local=behavior.public[0]) == behavior
    assert OTHER in {each.destination for each in world.explorer.sent}
