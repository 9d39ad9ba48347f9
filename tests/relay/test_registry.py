"""What exists, and how it goes away."""

from __future__ import annotations

from dataclasses import replace

from p2ptun.relay.event import AllocationEnded, AllocationMade
from p2ptun.relay.order import CloseRelay, OpenRelay
from p2ptun.relay.registry import Usage
from p2ptun.stun.attribute import EVEN_PORT
from p2ptun.types import Endpoint
from tests.relay.world import ALICE, BOB, BOTH_FAMILIES, CONFIG, LISTENER, PEER, PEER6, RELAY4, Client, World


def test_everything_is_counted() -> None:
    world = World()
    client = Client(world)
    client.allocate(BOTH_FAMILIES)
    client.permit(PEER)
    client.bind(0x4000, PEER6)
    assert world.server.usage() == Usage(allocations=1, permissions=2, channels=1, ways=1, ports=2, deadlines=5)


def test_nothing_is_left_of_what_ended() -> None:
    world = World()
    for turn in range(50):
        client = Client(world, Endpoint(ALICE.address, 1000 + turn))
        client.allocate(BOTH_FAMILIES)
        client.bind(0x4000, PEER)
        client.bind(0x4001, PEER6)
        client.refresh(0)
    assert world.server.usage() == Usage()
    assert world.server.next_timeout() is None
    opened = [order.relayed for order in world.orders if isinstance(order, OpenRelay)]
    closed = [order.relayed for order in world.orders if isinstance(order, CloseRelay)]
    assert sorted(opened, key=str) == sorted(closed, key=str)


def test_refreshing_often_costs_no_memory() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    client.bind(0x4000, PEER)
    before = world.server.usage()
    for lifetime in (3600, 600) * 100:
        client.refresh(lifetime)
        client.permit(PEER)
        client.bind(0x4000, PEER)
    assert world.server.usage() == before


def test_all_that_expires_in_one_second_goes_together() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    world.sleep(300.0)
    client.permit(PEER)
    client.bind(0x4000, Endpoint.of("192.0.2.10", 1))
    world.sleep(300.0)  # allocation and permissions end in the same second
    assert world.server.usage() == Usage()
    assert [type(event) for event in world.events] == [AllocationMade, AllocationEnded]


def test_an_allocation_that_outlives_its_channel_forgets_it() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    client.refresh(3600)
    client.bind(0x4000, PEER)
    world.sleep(901.0)
    assert world.server.usage() == Usage(allocations=1, ports=1, deadlines=1)


def test_a_reserved_port_is_a_port() -> None:
    world = World()
    client = Client(world)
    client.allocate((EVEN_PORT, True))
    assert world.server.usage() == Usage(allocations=1, ports=2, deadlines=2)
    client.refresh(0)
    assert world.server.usage() == Usage(ports=1, deadlines=1)
    world.sleep(31.0)
    assert world.server.usage() == Usage()


def test_channels_between_clients_end_with_either() -> None:
    world = World()
    alice, bob = Client(world), Client(world, BOB, "bob", "hidden")
    here, there = alice.allocate(), bob.allocate()
    carol = Client(world, Endpoint(BOB.address, 9))
    carol.allocate()
    assert alice.bind(0x4000, there) == carol.bind(0x4000, there) == bob.bind(0x4000, here) == 0
    assert world.server.usage().ways == 3
    alice.refresh(0)
    assert world.server.usage().ways == 1
    assert world.server.outward(BOB, LISTENER, 0x4000) is None
    carol.refresh(0)
    bob.refresh(0)
    assert world.server.usage() == Usage()


def test_a_channel_to_a_client_that_came_back_works_after_its_refresh() -> None:
    world = World(replace(CONFIG, relay_addresses=(RELAY4,), lowest_port=50000, highest_port=50001))
    alice, bob = Client(world), Client(world, BOB, "bob", "hidden")
    alice.allocate()
    there = bob.allocate()
    assert alice.bind(0x4000, there) == 0
    bob.refresh(0)
    assert world.server.outward(ALICE, LISTENER, 0x4000) is None
    assert bob.allocate() == there
    assert alice.bind(0x4000, there) == 0
    assert world.server.outward(ALICE, LISTENER, 0x4000) is not None
