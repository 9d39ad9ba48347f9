"""Every pair of networks meets just where theory allows it, on the path that it foretells; the rest needs a relay.

Twice: two bare agents, and two whole nodes whose lines are carried by people.
"""

from __future__ import annotations

from itertools import product

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.hard_nat import MAX_PROBES
from p2ptun.ice.role import Role
from p2ptun.node.event import PeerState
from p2ptun.types import Transport
from tests.ice.side import connect, make_side

from .meeting import LATENCY, PATIENCE, RTT, SERVERS, NodeMeeting, agents_meet, way_of
from .nat import Behaviour, Firewall, Habit, Nat
from .network import Network
from .site import (
    BLOCKED,
    CARRIER,
    NATS,
    PAIRS,
    PORT_RESTRICTED,
    PRESERVING,
    PUBLIC,
    RESTRICTED,
    SITES,
    SYMMETRIC,
    Site,
    Way,
    bases,
    can_search,
    expected_way,
)

HOST, SRFLX, PRFLX = CandidateType.HOST, CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE
KNOWN = [
    (PUBLIC, SYMMETRIC, Way(HOST, PRFLX)),
    (PORT_RESTRICTED, PORT_RESTRICTED, Way(SRFLX, SRFLX)),
    (RESTRICTED, SYMMETRIC, Way(SRFLX, PRFLX)),
    (PORT_RESTRICTED, SYMMETRIC, None),
    (SYMMETRIC, SYMMETRIC, None),
    (PRESERVING, PORT_RESTRICTED, Way(SRFLX, SRFLX)),
    (CARRIER, SYMMETRIC, None),
    (PUBLIC, BLOCKED, Way(HOST, PRFLX, Transport.TCP)),
    (PORT_RESTRICTED, BLOCKED, None),
]
"""What everybody in the field knows: a check of the theory itself."""

RELAY_BOUND, SEARCH_BOUND = 1.0, 30.0  # seconds until the first packets


@pytest.mark.parametrize(("left", "right", "way"), KNOWN, ids=str)
def test_theory_says_what_is_known(left: Site, right: Site, way: Way | None) -> None:
    assert expected_way(left, right) == way


def test_theory_covers_all_behaviours_and_is_the_same_both_ways() -> None:
    assert {(site.mapping, site.filtering) for site in NATS} == set(product(Behaviour, Behaviour))
    assert len(PAIRS) == len(SITES) * (len(SITES) + 1) // 2
    for left, right in PAIRS:
        there, back = expected_way(left, right), expected_way(right, left)
        assert (there is None) is (back is None)
        assert there is None or back is None or (there.left, there.right) == (back.right, back.left)


@pytest.mark.parametrize(("left", "right"), PAIRS, ids=str)
def test_agents_meet_where_theory_says_so(left: Site, right: Site) -> None:
    assert agents_meet(left, right) == expected_way(left, right)


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("roles", [(Role.CONTROLLING, Role.CONTROLLED), (Role.CONTROLLED, Role.CONTROLLED)])
def test_roles_and_chance_change_nothing(roles: tuple[Role, Role], seed: int) -> None:
    pairs = [pair for pair in PAIRS if expected_way(*pair) is not None]
    wrong = [pair for pair in pairs if agents_meet(*pair, seed=seed, roles=roles) != expected_way(*pair)]
    assert not wrong


@pytest.mark.parametrize(("left", "right"), PAIRS, ids=str)
def test_nodes_meet_where_theory_says_so_and_say_so(left: Site, right: Site) -> None:
    world = NodeMeeting(left, right)
    meeting = world.meet()
    if can_search(left, right):
        assert meeting.way is not None
        assert meeting.seconds < SEARCH_BOUND
    else:
        assert meeting.way == expected_way(left, right)
    if meeting.way is not None:
        assert {world.to_bob.state, world.to_alice.state} == {PeerState.CONNECTED}
        assert len(world.alice.received) == len(world.bob.received) == 1
    else:
        assert {world.to_bob.state, world.to_alice.state} <= {PeerState.CONNECTING, PeerState.FAILED}
        assert world.alice.received == world.bob.received == []


@pytest.mark.parametrize(("left", "right"), PAIRS, ids=str)
def test_with_a_relay_everybody_meets_and_who_can_do_without_does(left: Site, right: Site) -> None:
    world = NodeMeeting(left, right, has_relay=True)
    meeting = world.meet()
    theory = expected_way(left, right)
    assert meeting.way is not None
    assert meeting.seconds < RELAY_BOUND
    assert {world.to_bob.state, world.to_alice.state} == {PeerState.CONNECTED}
    assert len(world.alice.received) == len(world.bob.received) == 1
    if theory is not None:
        assert meeting.way == theory
    elif not can_search(left, right):
        assert meeting.way.is_relayed


# Sides that share a gateway


def share(network: Network, left: str, right: str) -> Way | None:
    """Let two agents meet that are where the network says."""
    servers = [network.add_stun_server(server) for server in SERVERS]
    sides = [make_side(seed=3), make_side(seed=4)]
    for side, address in zip(sides, (left, right), strict=True):
        side.bases = bases(address)
    connect(network, sides[0], sides[1], *servers, seconds=PATIENCE)
    return way_of(sides[0], sides[1])


@pytest.mark.parametrize("home", NATS, ids=str)
def test_two_machines_of_one_home_meet_without_its_nat(home: Site) -> None:
    network = Network(latency=LATENCY)
    network.add_nat(Nat("198.51.100.1", "10.0.1.0/24", home.mapping, home.filtering))
    assert share(network, "10.0.1.2", "10.0.1.3") == Way(HOST, HOST)


@pytest.mark.parametrize("has_hairpin", [False, True])
@pytest.mark.parametrize("carrier", NATS, ids=str)
def test_two_homes_behind_one_carrier_need_its_hairpin(carrier: Site, has_hairpin: bool) -> None:
    """The filters of the homes want the port, so whatever maps by destination between them is one too many."""
    network = Network(latency=LATENCY)
    habit = Habit(has_hairpin=has_hairpin)
    network.add_nat(Nat("198.51.100.1", "100.64.0.0/16", carrier.mapping, carrier.filtering, habit=habit))
    for number in (1, 2):
        network.add_nat(Nat(f"100.64.0.{number}", f"10.0.{number}.0/24"))
    can_meet = has_hairpin and carrier.mapping is Behaviour.ENDPOINT_INDEPENDENT
    assert share(network, "10.0.1.2", "10.0.2.2") == (Way(SRFLX, SRFLX) if can_meet else None)


@pytest.mark.parametrize("filtering", list(Behaviour))
def test_ipv6_firewalls_open_for_each_other(filtering: Behaviour) -> None:
    network = Network(latency=LATENCY)
    for number in (1, 2):
        network.add_nat(Firewall(f"2001:db8:{number}::/48", filtering))
    assert share(network, "[2001:db8:1::2]", "[2001:db8:2::2]") == Way(HOST, HOST)


def test_ipv6_joins_what_ipv4_can_not() -> None:
    network = Network(latency=LATENCY)
    servers = [network.add_stun_server(server) for server in SERVERS]
    sides = [make_side(seed=3), make_side(seed=4)]
    for number, side in enumerate(sides, 1):
        network.add_nat(Firewall(f"2001:db8:{number}::/48"))
        side.bases = [*bases(SYMMETRIC.build(network, number)), *bases(f"[2001:db8:{number}::2]")]
    assert connect(network, sides[0], sides[1], *servers)
    assert way_of(sides[0], sides[1]) == Way(HOST, HOST)
    assert sides[0].selections[-1].base.address.version == 6


# What it costs to find out that there is no way


@pytest.mark.parametrize(("left", "right"), [pair for pair in PAIRS if expected_way(*pair) is None], ids=str)
def test_search_is_no_flood(left: Site, right: Site) -> None:
    """A NAT has some thousand bindings for all of a home; a search must not use them up."""
    world = NodeMeeting(left, right)
    meeting = world.meet()
    probes = 2 * MAX_PROBES if can_search(left, right) else 0
    assert meeting.checks < 10 * PATIENCE + probes


def test_two_port_restricted_nats_within_four_round_trips() -> None:
    for seed in range(1, 21):
        meeting = NodeMeeting(PORT_RESTRICTED, PORT_RESTRICTED, seed).meet()
        assert meeting.way == Way(SRFLX, SRFLX)
        assert meeting.seconds <= 4 * RTT, f"seed {seed}: {meeting.seconds / RTT:.2f} round trips"
