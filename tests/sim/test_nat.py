"""The simulator's NATs and firewalls do what RFC 4787 calls them."""

from __future__ import annotations

import pytest

from p2ptun.types import Endpoint, Transport

from .nat import FIRST_PORT, Behaviour, Firewall, Habit, Nat, Ports
from .network import START, at

PUBLIC, PRIVATE = "203.0.113.1", "192.168.0.0/16"
INSIDE, NEIGHBOUR = at("192.168.1.2:5000"), at("192.168.1.3:5000")
SAME, OTHER_PORT, OTHER = at("198.51.100.1:1"), at("198.51.100.1:2"), at("198.51.100.2:1")
INDEPENDENT, BY_ADDRESS, BY_PORT = Behaviour

# how alike two remotes are -> which behaviours tell them apart
TELLS_APART = {SAME: set[Behaviour](), OTHER_PORT: {BY_PORT}, OTHER: {BY_PORT, BY_ADDRESS}}


@pytest.mark.parametrize("remote", list(TELLS_APART), ids=str)
@pytest.mark.parametrize("filtering", list(Behaviour))
@pytest.mark.parametrize("mapping", list(Behaviour))
def test_mapping_and_filtering(mapping: Behaviour, filtering: Behaviour, remote: Endpoint) -> None:
    nat = Nat(PUBLIC, PRIVATE, mapping, filtering)
    first = nat.outbound(INSIDE, SAME, START)
    assert (first.address, first.port) == (nat.address, FIRST_PORT)
    passes = nat.inbound(first, remote, START) == INSIDE
    assert passes is (filtering not in TELLS_APART[remote])
    assert (nat.outbound(INSIDE, remote, START) == first) is (mapping not in TELLS_APART[remote])


def test_bindings_die_of_silence_and_of_a_reboot() -> None:
    nat = Nat(PUBLIC, PRIVATE, lifetime=30.0)
    first = nat.outbound(INSIDE, SAME, START)
    assert nat.outbound(INSIDE, SAME, START + 30) == first
    assert nat.inbound(first, SAME, START + 60) == INSIDE
    assert nat.inbound(first, SAME, START + 61) is None, "what comes in keeps nothing alive"
    second = nat.outbound(INSIDE, SAME, START + 61)
    assert second != first
    nat.reboot()
    assert nat.inbound(second, SAME, START + 61) is None
    assert nat.outbound(INSIDE, SAME, START + 61) not in (first, second)


def test_filters_die_one_by_one_while_the_binding_lives() -> None:
    nat = Nat(PUBLIC, PRIVATE, lifetime=30.0)
    first = nat.outbound(INSIDE, SAME, START)
    assert nat.outbound(INSIDE, OTHER, START + 20) == first
    assert nat.inbound(first, SAME, START + 40) is None
    assert nat.inbound(first, OTHER, START + 40) == INSIDE


@pytest.mark.parametrize("is_refreshed", [False, True])
def test_what_comes_in_refreshes_where_a_nat_does_so(is_refreshed: bool) -> None:
    nat = Nat(PUBLIC, PRIVATE, habit=Habit(lifetime=30.0, is_refreshed_inbound=is_refreshed))
    first = nat.outbound(INSIDE, SAME, START)
    assert nat.inbound(first, SAME, START + 20) == INSIDE
    assert (nat.inbound(first, SAME, START + 40) == INSIDE) is is_refreshed


def test_a_nat_covers_its_own_network_only() -> None:
    nat = Nat(PUBLIC, PRIVATE)
    assert nat.covers(INSIDE.address)
    assert not nat.covers(SAME.address)
    assert not nat.covers(at("[2001:db8::1]:1").address)


def test_ports_are_preserved_unless_a_neighbour_has_them() -> None:
    nat = Nat(PUBLIC, PRIVATE, habit=Habit(Ports.PRESERVED, lifetime=30.0))
    assert nat.outbound(INSIDE, SAME, START).port == INSIDE.port
    assert nat.outbound(NEIGHBOUR, SAME, START).port == FIRST_PORT
    assert nat.inbound(Endpoint(nat.address, INSIDE.port), SAME, START) == INSIDE
    assert nat.inbound(Endpoint(nat.address, FIRST_PORT), SAME, START) == NEIGHBOUR
    nat.reboot()
    assert nat.outbound(NEIGHBOUR, SAME, START).port == NEIGHBOUR.port, "the other one is gone"


def test_preserving_nat_uses_one_port_for_many_destinations_of_many_hosts() -> None:
    nat = Nat(PUBLIC, PRIVATE, BY_PORT, BY_PORT, habit=Habit(Ports.PRESERVED))
    public = Endpoint(nat.address, INSIDE.port)
    assert nat.outbound(INSIDE, SAME, START) == nat.outbound(INSIDE, OTHER_PORT, START) == public
    assert nat.outbound(NEIGHBOUR, OTHER, START) == public
    assert nat.inbound(public, OTHER, START) == NEIGHBOUR
    assert nat.inbound(public, SAME, START) == INSIDE
    assert nat.outbound(NEIGHBOUR, SAME, START).port == FIRST_PORT


def test_expired_neighbour_loses_a_preserved_port() -> None:
    nat = Nat(PUBLIC, PRIVATE, habit=Habit(Ports.PRESERVED, lifetime=30.0))
    public = nat.outbound(INSIDE, SAME, START)
    assert nat.outbound(NEIGHBOUR, SAME, START + 31) == public
    assert nat.inbound(public, SAME, START + 31) == NEIGHBOUR
    assert nat.outbound(INSIDE, SAME, START + 32).port == FIRST_PORT


@pytest.mark.parametrize("is_tracking", [False, True])
def test_answer_to_a_stranger_leaves_by_the_door_that_let_it_in_where_a_nat_tracks(is_tracking: bool) -> None:
    nat = Nat(PUBLIC, PRIVATE, BY_PORT, INDEPENDENT, habit=Habit(is_tracking=is_tracking))
    first = nat.outbound(INSIDE, SAME, START)
    assert nat.inbound(first, OTHER, START) == INSIDE
    assert (nat.outbound(INSIDE, OTHER, START) == first) is is_tracking
    assert nat.outbound(INSIDE, OTHER_PORT, START) != first


def test_udp_and_tcp_have_ports_of_their_own() -> None:
    nat = Nat(PUBLIC, PRIVATE, habit=Habit(Ports.PRESERVED))
    stream = Endpoint(INSIDE.address, INSIDE.port, Transport.TCP)
    assert nat.outbound(INSIDE, SAME, START) == Endpoint(nat.address, INSIDE.port)
    there = Endpoint(SAME.address, SAME.port, Transport.TCP)
    assert nat.inbound(Endpoint(nat.address, INSIDE.port, Transport.TCP), there, START) is None
    assert nat.outbound(stream, there, START) == Endpoint(nat.address, INSIDE.port, Transport.TCP)
    assert nat.inbound(Endpoint(nat.address, INSIDE.port, Transport.TCP), there, START) == stream


@pytest.mark.parametrize("remote", list(TELLS_APART), ids=str)
@pytest.mark.parametrize("filtering", list(Behaviour))
def test_firewall_lets_answers_in_and_translates_nothing(filtering: Behaviour, remote: Endpoint) -> None:
    wall = Firewall(PRIVATE, filtering, lifetime=30.0)
    assert wall.inbound(INSIDE, SAME, START) is None
    assert wall.outbound(INSIDE, SAME, START) == INSIDE
    assert (wall.inbound(INSIDE, remote, START + 30) == INSIDE) is (filtering not in TELLS_APART[remote])
    assert wall.inbound(NEIGHBOUR, SAME, START) is None
    assert wall.inbound(INSIDE, SAME, START + 31) is None
    wall.outbound(INSIDE, SAME, START + 31)
    wall.reboot()
    assert wall.inbound(INSIDE, SAME, START + 31) is None
