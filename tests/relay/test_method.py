"""Refresh, CreatePermission, ChannelBind."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, ip_network

import pytest

from p2ptun.relay.event import AllocationEnded, EndReason
from p2ptun.stun.attribute import CHANNEL_NUMBER, LIFETIME, REQUESTED_ADDRESS_FAMILY, XOR_PEER_ADDRESS
from p2ptun.stun.message import Method
from p2ptun.types import Endpoint
from tests.relay.world import (
    ALICE,
    BOB,
    BOTH_FAMILIES,
    CONFIG,
    LISTENER,
    PEER,
    PEER6,
    RELAY4,
    Client,
    World,
    code_of,
    config,
    indicated,
)

PRIVATE = Endpoint.of("10.0.0.1", 5000)
OTHER = Endpoint.of("192.0.2.10", 5000)


def allocated(world: World | None = None) -> Client:
    client = Client(world or World())
    client.allocate()
    return client


# Refresh


@pytest.mark.parametrize(("asked", "granted"), [(None, 600), (1, 600), (1200, 1200), (99_999, 3600)])
def test_a_refresh_grants_a_lifetime_from_now(asked: int | None, granted: int) -> None:
    client = allocated()
    world = client.world
    world.sleep(500.0)
    assert client.refresh(asked).get(LIFETIME) == granted
    world.sleep(granted - 1.0)
    assert world.server.allocation_count == 1
    world.sleep(2.0)
    assert world.server.allocation_count == 0


def test_a_refresh_can_shorten_too() -> None:
    client = allocated()
    client.refresh(3600)
    client.refresh(600)
    client.world.sleep(601.0)
    assert client.world.server.allocation_count == 0


def test_lifetime_zero_ends_it() -> None:
    client = allocated()
    world = client.world
    assert client.permit(PEER) == 0
    assert client.bind(0x4000, PEER) == 0
    response = client.refresh(0)
    assert (code_of(response), response.get(LIFETIME)) == (0, 0)
    assert world.sockets == set()
    assert world.server.usage() == World().server.usage()
    assert world.events[-1] == AllocationEnded(ALICE, LISTENER, client.relayed, "alice", EndReason.DELETED, 0, 0)
    assert code_of(client.refresh(0)) == 437


def test_an_allocation_ends_when_nobody_refreshes_it() -> None:
    client = allocated()
    client.world.sleep(601.0)
    assert client.world.sockets == set()
    assert isinstance(client.world.events[-1], AllocationEnded)
    assert client.world.events[-1].reason is EndReason.EXPIRED
    assert client.world.server.usage().deadlines == 0


def test_nothing_works_without_an_allocation() -> None:
    client = Client(World())
    assert code_of(client.refresh()) == 437
    assert client.permit(PEER) == 437
    assert client.bind(0x4000, PEER) == 437


def test_somebody_elses_allocation_is_not_for_use() -> None:
    world = World()
    allocated(world)
    thief = Client(world, ALICE, "bob", "hidden")
    assert code_of(thief.refresh(0)) == 441
    assert thief.permit(PEER) == 441
    assert thief.bind(0x4000, PEER) == 441
    assert world.server.allocation_count == 1
    assert world.refusals() == [441, 441, 441]


def test_one_family_can_be_refreshed_or_ended() -> None:
    world = World()
    client = Client(world)
    client.allocate(BOTH_FAMILIES)
    relayed4, relayed6 = client.relayed
    assert client.permit(PEER, PEER6) == 0
    assert client.bind(0x4000, PEER) == 0
    assert client.bind(0x4001, PEER6) == 0
    assert code_of(client.refresh(1200, (REQUESTED_ADDRESS_FAMILY, 1))) == 0
    world.sleep(601.0)
    assert world.sockets == {relayed4}
    assert world.server.allocation_count == 1
    assert code_of(client.refresh(0, (REQUESTED_ADDRESS_FAMILY, 2))) == 443
    assert client.permit(PEER6) == 443
    assert client.bind(0x4002, PEER6) == 443
    assert code_of(client.refresh(0, (REQUESTED_ADDRESS_FAMILY, 1))) == 0
    assert world.server.allocation_count == 0
    (ended,) = [event for event in world.events if isinstance(event, AllocationEnded)]
    assert ended.relayed == (relayed4, relayed6)


def test_ending_one_family_leaves_the_other_ones_channels() -> None:
    world = World()
    client = Client(world)
    client.allocate(BOTH_FAMILIES)
    assert client.permit(PEER, PEER6) == client.bind(0x4000, PEER) == client.bind(0x4001, PEER6) == 0
    client.refresh(0, (REQUESTED_ADDRESS_FAMILY, 2))
    assert world.server.usage().channels == world.server.usage().permissions == world.server.usage().ways == 1
    assert world.server.outward(ALICE, LISTENER, 0x4000) is not None
    assert world.server.outward(ALICE, LISTENER, 0x4001) is None


# CreatePermission


def test_peers_are_permitted_by_address() -> None:
    client = allocated()
    assert client.permit(PEER, replace(OTHER, port=0)) == 0
    for peer in (PEER, replace(PEER, port=1), OTHER):
        (transmit,) = client.world.hear(b"hello", peer, client.relayed[0])
        assert indicated(transmit) == (peer, b"hello")


def test_permissions_are_given_all_or_none() -> None:
    client = allocated()
    assert client.permit(PEER, PRIVATE) == 403
    assert client.permit(PEER, PEER6) == 443
    assert client.permit() == 400
    assert client.world.server.usage().permissions == 0


def test_permissions_are_limited() -> None:
    client = allocated(World(config(permissions=2)))
    third = Endpoint.of("192.0.2.11", 1)
    assert client.permit(PEER, OTHER, third) == 508
    assert client.permit(PEER, OTHER, PEER) == 0
    assert client.permit(PEER, OTHER) == 0
    assert client.permit(third) == 508
    assert client.bind(0x4000, third) == 508
    assert client.bind(0x4000, PEER) == 0


def test_a_permission_lasts_five_minutes() -> None:
    client = allocated()
    client.permit(PEER)
    client.world.sleep(299.0)
    assert client.send(PEER, b"x") != []
    client.permit(PEER)
    client.world.sleep(299.0)
    assert client.send(PEER, b"x") != []
    client.world.sleep(2.0)
    assert client.send(PEER, b"x") == []
    assert client.world.server.usage().permissions == 0


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "203.0.113.2", "0.0.0.0", "224.0.0.1"],  # noqa: S104
)
def test_forbidden_peers_are_refused(address: str) -> None:
    world = World(replace(CONFIG, own_addresses=frozenset({Endpoint.of("203.0.113.2", 1).address})))
    client = allocated(world)
    assert client.permit(Endpoint.of(address, 5000)) == 403
    assert client.bind(0x4000, Endpoint.of(address, 5000)) == 403
    assert world.server.usage().permissions == 0
    assert world.refusals() == [403, 403]


@pytest.mark.parametrize("address", ["::7f00:1", "64:ff9b::a00:1", "2002:a00:1::1", "2001:0:1:2::f5ff:fffe", "::1"])
def test_forbidden_peers_are_refused_in_ipv6_too(address: str) -> None:
    client = Client(World())
    client.allocate((REQUESTED_ADDRESS_FAMILY, 2))
    assert client.permit(Endpoint(IPv6Address(address), 5000)) == 403


# ChannelBind


def test_a_channel_brings_its_permission() -> None:
    client = allocated()
    assert client.bind(0x4000, PEER) == 0
    assert client.send(PEER, b"x") != []
    assert client.world.server.usage().permissions == 1


@pytest.mark.parametrize("number", [0, 0x3FFF, 0x8000, 0xFFFF])
def test_other_numbers_are_no_channels(number: int) -> None:
    assert allocated().bind(number, PEER) == 400


def test_the_first_and_the_last_number_are() -> None:
    client = allocated()
    assert client.bind(0x4000, PEER) == client.bind(0x7FFF, OTHER) == 0


def test_a_bind_names_number_and_peer() -> None:
    client = allocated()
    assert code_of(client.ask(Method.CHANNEL_BIND, (CHANNEL_NUMBER, 0x4000))) == 400
    assert code_of(client.ask(Method.CHANNEL_BIND, (XOR_PEER_ADDRESS, PEER))) == 400


def test_number_and_peer_belong_together() -> None:
    client = allocated()
    assert client.bind(0x4000, PEER) == 0
    assert client.bind(0x4000, OTHER) == 400
    assert client.bind(0x4001, PEER) == 400
    assert client.bind(0x4001, OTHER) == 0
    assert client.bind(0x4001, PEER) == 400
    assert client.bind(0x4000, PEER) == 0
    assert client.bind(0x4002, replace(PEER, port=5001)) == 0  # the same address, another port: another peer


def test_a_channel_lasts_ten_minutes_and_cools_down_for_five() -> None:
    client = allocated()
    world = client.world
    client.refresh(3600)
    assert client.bind(0x4000, PEER) == 0
    world.sleep(599.0)
    assert client.bind(0x4000, PEER) == 0
    world.sleep(601.0)
    assert client.bind(0x4000, OTHER) == client.bind(0x4001, PEER) == 400
    assert world.server.usage().channels == 1
    world.sleep(300.0)
    assert world.server.usage().channels == 0
    assert client.bind(0x4000, OTHER) == client.bind(0x4001, PEER) == 0


def test_a_cooling_channel_can_be_bound_to_the_same_peer() -> None:
    client = allocated()
    client.refresh(3600)
    client.bind(0x4000, PEER)
    client.world.sleep(700.0)
    assert client.world.server.outward(ALICE, LISTENER, 0x4000) is None
    assert client.bind(0x4000, PEER) == 0
    assert client.world.server.outward(ALICE, LISTENER, 0x4000) is not None
    client.world.sleep(299.0)
    assert client.world.server.outward(ALICE, LISTENER, 0x4000) is not None


def test_channels_are_limited() -> None:
    client = allocated(World(config(channels=1)))
    assert client.bind(0x4000, PEER) == 0
    assert client.bind(0x4001, OTHER) == 508
    assert client.bind(0x4000, PEER) == 0


def test_a_channel_may_not_lead_to_ourselves() -> None:
    world = World(replace(CONFIG, allowed_peers=(ip_network("203.0.113.0/24"),)))
    client = allocated(world)
    other = Client(world, BOB, "bob", "hidden")
    relayed = other.allocate()
    assert client.bind(0x4000, LISTENER) == 403
    assert client.bind(0x4000, relayed) == 0
    strict = allocated()
    assert strict.bind(0x4000, Endpoint(RELAY4, 22)) == 403
