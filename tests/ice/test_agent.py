"""The whole agent: two of them on a simulated network."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from itertools import pairwise

import pytest

from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.connection import Timer
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import (
    AgentState,
    CandidateChanged,
    CandidateGathered,
    DropReason,
    FailureReason,
    GatheringCompleted,
    Restarted,
    RoleChanged,
    StateChanged,
)
from p2ptun.ice.pair import SEND_PROBLEMS, PairState
from p2ptun.ice.role import Role
from p2ptun.ice.scope import DEFAULT_REFUSED_NETWORKS
from p2ptun.stun.attribute import ERROR_CODE, ICE_CONTROLLING, PRIORITY, USERNAME
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message, encode_message
from p2ptun.types import Endpoint, SendError, Transmit
from tests.sim.nat import Behaviour, Nat
from tests.sim.network import START, Network, at

from .material import host, random_bytes_from
from .side import Side, connect, gather, is_settled, make_side, plug, signal, talk

LEFT, RIGHT = "192.0.2.1:1000", "192.0.2.2:2000"
INDEPENDENT, DEPENDENT = Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_AND_PORT_DEPENDENT


def two(role: Role = Role.CONTROLLING, other: Role = Role.CONTROLLED) -> tuple[Side, Side]:
    return make_side(LEFT, role=role, seed=1), make_side(RIGHT, role=other, seed=2)


def connected(network: Network) -> tuple[Side, Side]:
    left, right = two()
    assert connect(network, left, right)
    return left, right


def failures(side: Side) -> list[FailureReason]:
    return [event.reason for event in side.events if isinstance(event, StateChanged) and event.reason is not None]


def sent(network: Network) -> list[Transmit]:
    return [each.packet for each in network.log]


def error_codes(network: Network) -> list[int]:
    found = (decode_message(packet.payload).get(ERROR_CODE) for packet in sent(network))
    return [error.code for error in found if error is not None]


# How sides connect


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("other", Role)
@pytest.mark.parametrize("tie_breakers", [(1, 2), (2, 1), (7, 7)])
def test_pitfall_1_any_roles_at_the_start_end_in_one_controlling_side(
    role: Role, other: Role, tie_breakers: tuple[int, int]
) -> None:
    network = Network()
    left = make_side(LEFT, role=role, seed=1, tie_breaker=tie_breakers[0])
    right = make_side(RIGHT, role=other, seed=2, tie_breaker=tie_breakers[1])
    assert connect(network, left, right, seconds=5)
    assert left.agent.role is right.agent.role.opposite
    if role is other and tie_breakers != (7, 7):
        winner = left if tie_breakers[0] > tie_breakers[1] else right
        assert winner.agent.role is Role.CONTROLLING
    for side, start in ((left, role), (right, other)):
        changed = [event.role for event in side.of(RoleChanged) if isinstance(event, RoleChanged)]
        assert (changed[-1:] or [start]) == [side.agent.role]


@pytest.mark.parametrize("role", Role)
def test_pitfall_1_lost_487_is_answered_again(role: Role) -> None:
    network = Network()
    left_wins = role is Role.CONTROLLING  # so that it is the left one who refuses
    left = make_side(LEFT, role=role, seed=1, tie_breaker=2 if left_wins else 1)
    right = make_side(RIGHT, role=role, seed=2, tie_breaker=1 if left_wins else 2)
    lost: list[Transmit] = []

    def swallow(packet: Transmit) -> bool:
        """Lose the first 487; let only the right one ask at first, so that a 487 alone tells it of the conflict."""
        if decode_message(packet.payload).get(ERROR_CODE) is not None and not lost:
            lost.append(packet)
            return True
        return packet.source == at(LEFT) and network.now < START + 0.01

    network.is_cut = swallow
    assert connect(network, left, right, seconds=10)
    assert len(lost) == 1
    assert left.agent.role is right.agent.role.opposite


def test_first_valid_pair_carries_data_at_once_and_is_nominated_after() -> None:
    network = Network()
    left, right = connected(network)
    assert [event.is_nominated for event in left.selections] == [False, True]
    assert right.selections[-1].is_nominated
    assert left.selections[0].destination == at(RIGHT)
    assert left.states == right.states == [AgentState.CHECKING, AgentState.CONNECTED]
    assert network.now - START < 0.15
    assert left.agent.may_send(network.now)
    assert left.agent.checks == (1, 1)


def test_twelve_packets_are_enough_for_two_hosts() -> None:
    network = Network()
    connected(network)
    assert len(network.log) <= 12


@pytest.mark.parametrize("there", [INDEPENDENT, DEPENDENT])
def test_sides_behind_nats_meet_unless_both_map_by_destination(there: Behaviour) -> None:
    network = Network()
    network.add_nat(Nat("198.51.100.1", "10.0.0.1/32", INDEPENDENT))
    network.add_nat(Nat("198.51.100.2", "10.0.0.2/32", there))
    servers = [network.add_stun_server(f"203.0.113.{number}:3478") for number in (1, 2)]
    left, right = make_side("10.0.0.1:1", seed=1), make_side("10.0.0.2:1", role=Role.CONTROLLED, seed=2)
    met = connect(network, left, right, *servers, seconds=60)
    assert met is (there is INDEPENDENT)
    if met:
        assert left.selections[-1].local.type is CandidateType.SERVER_REFLEXIVE
        assert left.selections[-1].remote.endpoint == at("198.51.100.2:40000")
        assert left.selections[0].rtt is not None
    else:
        assert failures(left) == [FailureReason.NO_PATH]


def test_peer_reflexive_on_both_sides_when_one_side_is_public_and_no_server_is_known() -> None:
    network = Network()
    network.add_nat(Nat("198.51.100.1", "10.0.0.1/32", DEPENDENT))
    left, right = make_side("10.0.0.1:1", seed=1), make_side(RIGHT, role=Role.CONTROLLED, seed=2)
    assert connect(network, left, right)
    assert left.selections[-1].local.type is CandidateType.PEER_REFLEXIVE
    assert right.selections[-1].remote.type is CandidateType.PEER_REFLEXIVE
    assert right.selections[-1].destination == left.selections[-1].local.endpoint


def test_ipv6_comes_before_ipv4_of_the_same_rank_and_both_are_checked() -> None:
    network = Network()
    left = make_side(LEFT, "[2001:db8::1]:1", seed=1)
    right = make_side(RIGHT, "[2001:db8::2]:1", role=Role.CONTROLLED, seed=2)
    assert connect(network, left, right)
    assert left.selections[-1].base == at("[2001:db8::1]:1")
    assert len(left.agent.pairs) == 2


def test_broken_ipv6_delays_data_by_one_pace_and_nomination_by_its_hope() -> None:
    network = Network()
    network.is_cut = lambda packet: packet.source.address.version == 6
    left = make_side(LEFT, "[2001:db8::1]:1", seed=1)
    right = make_side(RIGHT, "[2001:db8::2]:1", role=Role.CONTROLLED, seed=2)
    for side in (left, right):
        plug(network, side)
        gather(network, side)
    signal(network, left, right)
    signal(network, right, left)
    assert network.run(1.0, lambda: left.agent.selected is not None)
    assert network.now - START < 0.1
    assert network.run(10.0, lambda: is_settled(left))
    assert network.now - START < 4.0
    assert left.selections[-1].base == at(LEFT)


def test_pitfall_22_link_local_pairs_on_its_link_only_and_replies_from_the_same_socket() -> None:
    network = Network()
    left = make_side("[fe80::1%eth0]:1", "[fe80::1%eth1]:1", seed=1)
    right = make_side("[fe80::2%eth0]:1", role=Role.CONTROLLED, seed=2)
    assert connect(network, left, right)
    assert left.selections[-1].destination == at("[fe80::2%eth0]:1")
    assert {str(packet.destination.address)[-5:] for packet in sent(network) if packet.source == left.bases[1]} == {
        "%eth1"
    }
    assert all(b"eth" not in packet.payload for packet in sent(network))


@pytest.mark.parametrize("seed", range(8))
def test_thirty_percent_loss_only_takes_longer(seed: int) -> None:
    network = Network(loss=0.3, seed=seed)
    left, right = two(Role.CONTROLLING, Role.CONTROLLING)
    assert connect(network, left, right, seconds=40), f"seed {seed}"
    assert left.agent.role is right.agent.role.opposite, f"seed {seed}"


# Trickle, early checks, ends


def test_candidates_are_told_as_they_come_and_a_slow_server_delays_nobody() -> None:
    network = Network()
    network.add_nat(Nat("198.51.100.1", "10.0.0.1/32", DEPENDENT))
    fast, slow = network.add_stun_server("203.0.113.1:3478"), network.add_stun_server("203.0.113.2:3478", delay=5.0)
    dead = at("203.0.113.3:3478")
    side = make_side("10.0.0.1:1")
    plug(network, side)
    gather(network, side, fast, slow, dead)
    network.run(1)
    assert len(side.of(CandidateGathered)) == 2
    network.run(9)
    assert len(side.of(CandidateGathered)) == 3
    assert side.agent.bindings == (2, 3)
    assert side.of(GatheringCompleted) == []
    network.run(30)
    assert len(side.of(GatheringCompleted)) == 1
    assert side.agent.local_candidates[0].type is CandidateType.HOST


def test_an_address_without_a_nat_is_known_to_be_public_once_a_server_has_seen_it() -> None:
    network = Network()
    server = network.add_stun_server("203.0.113.1:3478")
    side = make_side("192.0.2.1:1")
    plug(network, side)
    gather(network, side, server)
    assert side.agent.public_addresses == frozenset()
    network.run(1)
    assert side.agent.public_addresses == {at("192.0.2.1:1").address}


def test_trickled_candidates_connect_before_the_end_is_told() -> None:
    network = Network()
    left, right = two()
    for side, other in ((left, right), (right, left)):
        plug(network, side)
        side.agent.add_local_address(side.bases[0], network.now)
        side.agent.set_remote_credentials(other.agent.local_credentials, network.now)
    network.run(5)
    assert left.state() is AgentState.CHECKING
    left.agent.add_remote_candidate(right.agent.local_candidates[0], network.now)
    assert network.run(1.0, lambda: is_settled(left))


def test_pitfall_16_checks_before_the_remote_credentials_are_answered_and_used() -> None:
    network = Network()
    left, right = two()
    for side in (left, right):
        plug(network, side)
        gather(network, side)
    signal(network, right, left)
    network.run(1)
    assert left.agent.selected is not None  # the answers alone made its pair valid
    assert right.state() is AgentState.NEW
    assert right.agent.pairs == ()
    assert right.agent.is_checked
    assert not left.agent.is_checked  # answers alone don't prove that the other side knows us
    right.agent.set_remote_credentials(left.agent.local_credentials, network.now)
    assert network.run(1.0, lambda: is_settled(left) and is_settled(right))
    assert right.selections[-1].remote.type is CandidateType.PEER_REFLEXIVE


def test_pitfall_10_peer_reflexive_that_is_signalled_later_keeps_state_and_nomination() -> None:
    network = Network()
    left, right = two()
    for side in (left, right):
        plug(network, side)
        gather(network, side)
    signal(network, right, left)
    right.agent.set_remote_credentials(left.agent.local_credentials, network.now)
    assert network.run(1.0, lambda: is_settled(right))
    right.agent.add_remote_candidate(left.agent.local_candidates[0], network.now)
    network.flush()
    assert right.selections[-1].remote.type is CandidateType.HOST
    assert right.selections[-1].is_nominated
    assert [pair.state for pair in right.agent.pairs] == [PairState.SUCCEEDED]


def test_pitfall_17_no_failure_while_gathering_before_pac_or_while_candidates_may_come() -> None:
    network = Network()
    left, _ = two()
    plug(network, left)
    agent = left.agent
    agent.add_local_address(left.bases[0], START)
    agent.set_remote_credentials(Credentials("peer", "p" * 22), START)
    agent.add_remote_candidate(host("192.0.2.9:1"), START)
    network.run(100)
    assert left.state() is AgentState.CHECKING
    agent.end_of_remote_candidates(network.now)
    network.run(100)
    assert left.state() is AgentState.CHECKING
    agent.end_of_servers(network.now)
    network.run(60)
    assert left.state() is AgentState.FAILED
    assert failures(left) == [FailureReason.NO_PATH]
    assert agent.next_timeout() is None
    assert agent.next_timer is None


def test_without_any_pair_the_agent_fails_when_pac_is_over() -> None:
    network = Network()
    left, _ = two()
    plug(network, left)
    gather(network, left)
    left.agent.set_remote_credentials(Credentials("peer", "p" * 22), START)
    left.agent.end_of_remote_candidates(START)
    assert left.agent.next_timer is Timer.PAC
    network.run(39.4)
    assert left.state() is AgentState.CHECKING
    left.agent.add_remote_candidate(host("[2001:db8::9]:1"), network.now)  # restarts the timer, pairs with nothing
    network.run(39.4)
    assert left.state() is AgentState.CHECKING
    network.run(0.2)
    assert failures(left) == [FailureReason.NO_PATH]


def test_patient_agent_keeps_knocking_until_the_other_description_was_carried_over() -> None:
    network = Network()
    for number in (1, 2):
        network.add_nat(Nat(f"198.51.100.{number}", f"10.0.0.{number}/32"))
    server = network.add_stun_server("203.0.113.1:3478")
    config = AgentConfig(pac_timeout=600.0)
    left = make_side("10.0.0.1:1", seed=1, config=config)
    right = make_side("10.0.0.2:1", role=Role.CONTROLLED, seed=2, config=config)
    for side in (left, right):
        plug(network, side)
        gather(network, side, server)
    network.run(5)
    signal(network, left, right)
    network.run(300)
    assert right.state() is AgentState.CHECKING
    signal(network, right, left)
    assert network.run(1.0, lambda: left.agent.selected is not None and right.agent.selected is not None)


def test_bindings_live_while_people_carry_descriptions_and_changes_are_told() -> None:
    network = Network()
    nat = network.add_nat(Nat("198.51.100.1", "10.0.0.1/32"))
    server = network.add_stun_server("203.0.113.1:3478")
    side = make_side("10.0.0.1:1")
    plug(network, side)
    gather(network, side, server)
    network.run(300)
    times = [each.at for each in network.log if each.packet.destination == server]
    assert all(later - earlier <= 25 for earlier, later in pairwise(times))
    nat.reboot()
    network.run(26)
    [changed] = side.of(CandidateChanged)
    assert isinstance(changed, CandidateChanged)
    assert (changed.old.endpoint, changed.new.endpoint) == (at("198.51.100.1:40000"), at("198.51.100.1:40001"))
    assert changed.new in side.agent.local_candidates


def test_bindings_rest_after_the_nomination() -> None:
    network = Network()
    server = network.add_stun_server("203.0.113.1:3478")
    left, right = two()
    assert connect(network, left, right, server)
    before = sum(packet.destination == server for packet in sent(network))
    network.run(100)
    assert sum(packet.destination == server for packet in sent(network)) == before


# Consent and liveness


def test_path_cut_is_suspect_then_failed_thirty_seconds_after_the_last_consent() -> None:
    network = Network()
    left, right = connected(network)
    talk(network, 20, left, right)
    network.is_cut = lambda packet: True
    cut_at = network.now
    talk(network, 4, left, right)
    assert left.state() is AgentState.SUSPECT
    assert left.agent.may_send(network.now)
    last = max(pair.rtt or 0 for pair in left.agent.pairs)
    assert last < 0.1
    while left.state() is AgentState.SUSPECT:
        talk(network, 0.1, left, right, interval=0.1)
        assert network.now < cut_at + 31
    assert failures(left) == [FailureReason.CONSENT_EXPIRED]
    assert cut_at + 24 < network.now < cut_at + 30.2
    assert not left.agent.may_send(network.now)
    assert left.agent.selected is None
    before = sum(packet.source == at(LEFT) for packet in sent(network))
    talk(network, 100, left)
    assert sum(packet.source == at(LEFT) for packet in sent(network)) == before


def test_path_that_comes_back_before_expiry_is_connected_again() -> None:
    network = Network()
    left, right = connected(network)
    network.is_cut = lambda packet: True
    talk(network, 20, left, right)
    assert left.state() is right.state() is AgentState.SUSPECT
    network.is_cut = lambda packet: False
    talk(network, 1, left, right)
    assert left.states[-2:] == [AgentState.SUSPECT, AgentState.CONNECTED]
    talk(network, 100, left, right)
    assert failures(left) == failures(right) == []


def test_tunnel_packets_clear_suspicion() -> None:
    network = Network()
    left, _ = connected(network)
    network.is_cut = lambda packet: True
    talk(network, 5, left)
    assert left.state() is AgentState.SUSPECT
    left.agent.record_authenticated(network.now)
    network.flush()
    assert left.states[-1] is AgentState.CONNECTED


def test_pitfall_18_round_trip_of_six_seconds_keeps_consent() -> None:
    network = Network(latency=3.0)
    left, right = two()
    assert connect(network, left, right, seconds=60)
    talk(network, 300, left, right)
    assert failures(left) == failures(right) == []
    assert left.agent.may_send(network.now)


@pytest.mark.parametrize("seed", range(4))
def test_ten_percent_loss_for_ten_minutes_costs_no_path(seed: int) -> None:
    network = Network(loss=0.1, seed=seed)
    left, right = two()
    assert connect(network, left, right), f"seed {seed}"
    talk(network, 600, left, right, interval=1.0)
    assert failures(left) == failures(right) == [], f"seed {seed}"


def test_idle_tunnel_sends_one_check_per_25_seconds_and_wakes_with_traffic() -> None:
    network = Network()
    left, _ = connected(network)
    network.run(30)
    assert left.state() is AgentState.IDLE
    before = len(network.log)
    network.run(250)
    assert len(network.log) - before <= 2 * 2 * 13
    assert failures(left) == []
    left.agent.record_sent(network.now)
    network.flush()
    assert left.states[-1] is AgentState.CONNECTED


def test_first_packet_after_expired_consent_waits_for_one_check() -> None:
    network = Network()
    left, _ = connected(network)
    network.run(30)
    network.now += 100  # the machine slept: no timer ran
    assert not left.agent.may_send(network.now)
    left.agent.request_consent(network.now)
    network.flush()
    assert left.state() is AgentState.SUSPECT
    network.run(0.1)
    assert left.state() is AgentState.CONNECTED
    assert left.agent.may_send(network.now)


def test_another_valid_pair_takes_over_from_a_silent_one() -> None:
    network = Network()
    left = make_side(LEFT, "[2001:db8::1]:1", seed=1)
    right = make_side(RIGHT, "[2001:db8::2]:1", role=Role.CONTROLLED, seed=2)
    assert connect(network, left, right)
    network.run(1)
    assert [pair.state for pair in left.agent.pairs] == [PairState.SUCCEEDED, PairState.SUCCEEDED]
    assert left.selections[-1].base == right.selections[-1].destination == at("[2001:db8::1]:1")
    network.is_cut = lambda packet: packet.source.address.version == 6
    talk(network, 4, left, right)
    assert left.selections[-1].base == right.selections[-1].destination == at(LEFT)
    assert left.selections[-1].is_nominated
    assert right.selections[-1].is_nominated
    talk(network, 60, left, right)
    assert failures(left) == failures(right) == []


def test_peer_whose_nat_forgot_it_is_followed_to_its_new_address() -> None:
    network = Network()
    nat = network.add_nat(Nat("198.51.100.1", "10.0.0.1/32"))
    left, right = make_side("10.0.0.1:1", seed=1), make_side(RIGHT, role=Role.CONTROLLED, seed=2)
    assert connect(network, left, right)
    talk(network, 5, left, right)
    nat.reboot()
    talk(network, 15, left, right)
    assert right.agent.selected is not None
    assert right.agent.selected.destination == at("198.51.100.1:40001")
    assert failures(left) == failures(right) == []


def test_peer_whose_nat_forgets_it_again_and_again_is_followed_for_ever() -> None:
    network = Network()
    nat = network.add_nat(Nat("198.51.100.1", "10.0.0.1/32"))
    config = AgentConfig(max_candidates=3, max_pairs=4)
    left = make_side("10.0.0.1:1", seed=1)
    right = make_side(RIGHT, role=Role.CONTROLLED, seed=2, config=config)
    assert connect(network, left, right)
    for _ in range(12):
        nat.reboot()
        talk(network, 15, left, right)
        assert right.agent.selected is not None
        assert right.agent.selected.destination == left.selections[-1].local.endpoint
    assert failures(left) == failures(right) == []
    assert len(right.agent.remote_candidates) <= 4


# Errors of the kernel, addresses that go, refusals


@pytest.mark.parametrize("error", SendError)
def test_pitfall_23_send_error_concerns_one_pair_only(error: SendError) -> None:
    network = Network()
    left, _ = two()
    gather(network, left)
    left.agent.set_remote_credentials(Credentials("peer", "p" * 22), START)
    for number in (8, 9):
        left.agent.add_remote_candidate(host(f"192.0.2.{number}:1"), START)
    packet = left.agent.next_transmit()
    assert packet is not None
    left.agent.record_send_error(packet.source, packet.destination, error, START)
    left.agent.record_send_error(packet.source, at("203.0.113.77:1"), error, START)
    hit, other = sorted(left.agent.pairs, key=lambda pair: pair.destination != packet.destination)
    is_fatal = error in (
        SendError.UNREACHABLE,
        SendError.SOURCE_GONE,
        SendError.REFUSED_BY_FIREWALL,
        SendError.REFUSED_BY_RELAY,
        SendError.THROUGH_TUNNEL,
    )
    assert hit.problem is SEND_PROBLEMS[error]
    assert hit.state is (PairState.FAILED if is_fatal else PairState.IN_PROGRESS)
    assert other.state in (PairState.WAITING, PairState.IN_PROGRESS)
    assert other.problem is None


def test_refused_send_on_the_selected_pair_makes_it_suspect_at_once() -> None:
    network = Network()
    left, right = connected(network)
    left.agent.record_send_error(at(LEFT), at(RIGHT), SendError.REFUSED, network.now)
    assert left.state() is AgentState.CONNECTED  # an ICMP error is a hint, no proof
    left.agent.record_send_error(at(LEFT), at(RIGHT), SendError.UNREACHABLE, network.now)
    network.flush()
    assert left.state() is AgentState.SUSPECT
    network.run(0.1)
    assert left.state() is AgentState.CONNECTED
    assert right.states[-1] is AgentState.CONNECTED


def test_server_without_a_route_is_given_up_at_once() -> None:
    network = Network()
    side = make_side(LEFT)
    plug(network, side)
    gather(network, side, at("203.0.113.1:3478"))
    side.agent.record_send_error(at(LEFT), at("203.0.113.1:3478"), SendError.UNREACHABLE, START)
    network.flush()
    assert len(side.of(GatheringCompleted)) == 1


def test_every_generation_has_an_end_of_candidates() -> None:
    """RFC 8838 13: told after the generation that it ends."""
    network = Network()
    left, _ = connected(network)
    left.agent.restart(network.now)
    network.flush()
    told = [type(event) for event in left.events if isinstance(event, GatheringCompleted | Restarted)]
    assert told == [GatheringCompleted, Restarted, GatheringCompleted]


def test_removed_address_ends_its_pairs_at_once_and_a_new_one_connects() -> None:
    network = Network()
    left, right = connected(network)
    left.agent.remove_local_address(at(LEFT), network.now)
    left.agent.remove_local_address(at(LEFT), network.now)
    network.flush()
    assert left.agent.selected is None
    assert left.states[-1] is AgentState.CHECKING
    assert left.agent.local_candidates == ()
    moved = at("192.0.2.77:1")
    network.plug(left, moved)
    left.agent.add_local_address(moved, network.now)
    left.agent.add_local_address(moved, network.now)
    network.run(1)
    assert left.selections[-1].base == moved
    talk(network, 15, left, right)
    assert right.agent.selected is not None
    assert right.agent.selected.destination == moved


def test_tunnel_prefixes_are_refused_as_candidates_and_as_sources() -> None:
    network = Network()
    config = AgentConfig(refused_networks=(*DEFAULT_REFUSED_NETWORKS, ip_network("10.77.0.0/16")))
    left = make_side(LEFT, seed=1, config=config)
    right = make_side("10.77.0.2:1", role=Role.CONTROLLED, seed=2)
    assert not connect(network, left, right, seconds=5)
    assert left.agent.remote_candidates == ()
    assert left.agent.drops[DropReason.REFUSED_SOURCE] > 1


def test_new_credentials_of_the_peer_say_that_it_restarted() -> None:
    side = make_side(LEFT)
    credentials = Credentials("peer", "p" * 22)
    before = side.agent.local_credentials
    side.agent.set_remote_credentials(credentials, START)
    side.agent.set_remote_credentials(credentials, START)
    assert side.agent.local_credentials == before
    other = replace(credentials, ufrag="other")
    side.agent.set_remote_credentials(other, START)
    assert side.agent.local_credentials != before
    assert side.agent.generation == 1
    assert side.agent.remote_credentials == other
    side.agent.set_remote_credentials(credentials, START)
    assert side.agent.remote_credentials == other, "those of a generation that is over are no news"


def test_candidates_of_a_foreign_generation_are_counted() -> None:
    side = make_side(LEFT)
    foreign = replace(host("192.0.2.9:1"), ufrag="alien")
    side.agent.add_remote_candidate(foreign, START)
    side.agent.set_remote_credentials(Credentials("peer", "p" * 22), START)
    side.agent.add_remote_candidate(foreign, START)
    assert side.agent.drops[DropReason.FOREIGN_GENERATION] == 2


def test_closed_agent_is_silent_for_ever() -> None:
    network = Network()
    left, right = connected(network)
    left.agent.close(network.now)
    left.agent.close(network.now)
    network.flush()
    assert left.states.count(AgentState.CLOSED) == 1
    before = sum(packet.source == at(LEFT) for packet in sent(network))
    talk(network, 40, right)
    left.agent.handle_timeout(network.now)
    left.agent.add_stun_server(at("203.0.113.1:3478"), network.now)
    assert left.agent.next_timeout() is None
    assert sum(packet.source == at(LEFT) for packet in sent(network)) == before
    assert left.agent.drops[DropReason.CLOSED] > 0
    assert failures(right) == [FailureReason.CONSENT_EXPIRED]


# Hostile bytes and any time


def snapshot(agent: Agent) -> object:
    return (
        agent.state,
        agent.role,
        agent.local_candidates,
        agent.remote_candidates,
        agent.pairs,
        agent.selected,
        agent.next_timeout(),
        agent.bindings,
    )


def test_hostile_bytes_raise_nothing_and_change_nothing() -> None:
    network = Network()
    left, right = connected(network)
    heard = [packet.payload for packet in sent(network) if packet.destination == at(LEFT)]
    source = random.Random(7)
    before = snapshot(left.agent)
    for number in range(3000):
        data = bytearray(source.choice(heard) if number % 3 else source.randbytes(source.randrange(200)))
        for _ in range(source.randrange(1, 4)):
            if data:
                data[source.randrange(len(data))] ^= source.randrange(1, 256)
        where = source.choice((at(RIGHT), at("198.51.100.66:6"), at("[2001:db8::6]:6"), at("127.0.0.1:6")))
        left.agent.receive_datagram(bytes(data), where, source.choice((at(LEFT), at(RIGHT))), network.now)
        while (packet := left.agent.next_transmit()) is not None:
            assert len(packet.payload) <= len(data), number
            assert packet.source == at(LEFT), number
        assert left.agent.next_event() is None, number
    assert snapshot(left.agent) == before
    assert sum(left.agent.drops.values()) == 3000
    assert set(left.agent.drops) >= {DropReason.NOT_STUN, DropReason.MALFORMED, DropReason.UNKNOWN_SOCKET}
    assert right.agent.drops == {}


def test_pitfall_2_request_without_integrity_gets_400_and_changes_nothing() -> None:
    network = Network()
    left, _ = connected(network)
    before = snapshot(left.agent)
    name = f"{left.agent.local_credentials.ufrag}:somebody"
    attributes = ((USERNAME, name), (PRIORITY, 1), (ICE_CONTROLLING, 2**64 - 1))
    request = Message(Method.BINDING, MessageClass.REQUEST, TransactionId(bytes(12)), attributes)
    left.agent.receive_datagram(encode_message(request), at("198.51.100.66:6"), at(LEFT), network.now)
    network.flush()
    assert error_codes(network) == [400]
    assert snapshot(left.agent) == before


def test_pitfall_5_data_and_indications_are_no_business_of_the_agent() -> None:
    network = Network()
    left, _ = connected(network)
    indication = encode_message(Message(Method.BINDING, MessageClass.INDICATION, TransactionId(bytes(12))))
    left.agent.receive_datagram(b"\xd4" + bytes(99), at(RIGHT), at(LEFT), network.now)
    left.agent.receive_datagram(indication, at(RIGHT), at(LEFT), network.now)
    assert left.agent.drops == {DropReason.NOT_STUN: 1, DropReason.INDICATION: 1}


def test_anything_at_any_time_leaves_the_next_timeout_in_the_future() -> None:
    for seed in range(40):
        run_at_random(seed)


def run_at_random(seed: int) -> None:
    """Drive one agent with random commands, answers of a real peer, noise, and times that jump."""
    source = random.Random(seed)
    agent = Agent(
        AgentConfig(pac_timeout=5.0),
        Credentials.generate(source.randbytes),
        source.choice(list(Role)),
        5,
        source.randbytes,
    )
    peer = make_side(RIGHT, role=source.choice(list(Role)), seed=seed + 100).agent
    peer.add_local_address(at(RIGHT), START)
    peer.set_remote_credentials(agent.local_credentials, START)
    bases, servers = [at(LEFT), at("[2001:db8::1]:1")], [at("203.0.113.1:3478")]
    commands: list[Callable[[float], None]] = [
        lambda now: agent.add_local_address(source.choice(bases), now),
        lambda now: agent.remove_local_address(source.choice(bases), now),
        lambda now: agent.add_stun_server(servers[0], now),
        agent.end_of_servers,
        agent.end_of_remote_candidates,
        lambda now: agent.set_remote_credentials(peer.local_credentials, now),
        lambda now: agent.add_remote_candidate(host(f"192.0.2.{source.randrange(2, 9)}:2000"), now),
        agent.record_sent,
        agent.record_authenticated,
        agent.request_consent,
        lambda now: agent.record_send_error(at(LEFT), at(RIGHT), source.choice(list(SendError)), now),
        lambda now: agent.receive_datagram(source.randbytes(30), at(RIGHT), at(LEFT), now),
    ]
    now = START
    for _ in range(300):
        now += source.choice((0.0, 0.001, 0.02, 0.5, 3.0, 40.0))
        source.choice(commands)(now)
        for machine, other, base in ((agent, peer, at(LEFT)), (peer, agent, at(RIGHT))):
            machine.handle_timeout(now)
            timeout = machine.next_timeout()
            assert timeout is None or timeout > now, (seed, machine.next_timer)
            deliver(machine, other, base, now, source)
    assert agent.state in AgentState, random_bytes_from(seed)


def deliver(machine: Agent, other: Agent, base: Endpoint, now: float, source: random.Random) -> None:
    """Carry what one machine sends to the other, some of it twice, some never."""
    while (packet := machine.next_transmit()) is not None:
        for _ in range(source.choice((0, 1, 1, 1, 2))):
            other.receive_datagram(packet.payload, base, packet.destination, now)
    while machine.next_event() is not None:
        pass
