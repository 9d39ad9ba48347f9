from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from itertools import pairwise

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig, RemoteOptions
from p2ptun.ice.connection import OUTSIDE_INTERVAL, Timer
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import AgentState, FailureReason, RestartReason, StateChanged
from p2ptun.ice.role import Role
from p2ptun.types import SendError
from tests.sim.link import Link
from tests.sim.network import START, Network, at

from .couple import Couple, path_of, restarts, standbys
from .material import host
from .side import Side, connect, gather, is_settled, make_side, plug, signal

V4, V6 = 4, 6


def family(side: Side) -> int:
    path = path_of(side)
    assert path is not None
    return path[0].address.version


# Standby


def test_another_pair_stands_ready_and_takes_over_in_less_than_a_second() -> None:
    couple = Couple()
    couple.talk(5)
    assert [family(side) for side in couple.sides] == [V6, V6]
    assert standbys(couple.left) == [at("192.0.2.2:2000")]
    couple.cut(V6)
    assert couple.talk_until_moved(couple.left) < 1.0
    couple.talk(0.5)
    assert [family(side) for side in couple.sides] == [V4, V4]
    assert all(side.agent.selected and side.agent.selected.is_nominated for side in couple.sides), "it was renominated"
    assert not any(restarts(side) for side in couple.sides)
    assert AgentState.SUSPECT not in couple.left.states


def test_plain_peer_is_followed_to_another_pair_too() -> None:
    couple = Couple(has_renomination=False, is_prepared=False)
    couple.talk(5)
    couple.cut(V6)
    couple.talk(3)
    assert [family(side) for side in couple.sides] == [V4, V4]
    assert all(is_settled(side) for side in couple.sides)


def test_idle_path_keeps_nobody_ready_and_sends_one_check_per_twenty_five_seconds_at_most() -> None:
    couple = Couple()
    couple.talk(5)
    couple.network.run(30)
    before = len(couple.network.log)
    couple.network.run(1000)
    sent = [sent.at for sent in couple.network.log[before:] if sent.host is couple.left]
    checks = len(sent) / 2  # each side answers as many as it sends
    assert 38 <= checks <= 51


def test_reserve_that_died_is_given_up_in_the_background() -> None:
    couple = Couple()
    couple.talk(5)
    couple.cut(V4)
    couple.talk(60)
    assert couple.left.agent.standby is None
    assert standbys(couple.left)[-1] is None
    assert family(couple.left) == V6
    couple.cut()
    couple.talk(130)
    assert couple.left.agent.standby is not None, "it is looked for again"


# Upgrade


def test_a_better_path_is_searched_for_ever_and_taken_by_renomination() -> None:
    couple = Couple()
    couple.talk(5)
    couple.cut(V6)
    couple.talk(300)
    assert family(couple.left) == V4
    couple.cut()
    couple.network.links[at("192.0.2.1:1000").address] = Link(latency=0.1)
    couple.talk(300)
    assert [family(side) for side in couple.sides] == [V6, V6], "100 ms faster each way"
    assert all(is_settled(side) for side in couple.sides)
    assert not any(restarts(side)[1:] for side in couple.sides)


def test_two_equal_paths_do_not_make_traffic_wander() -> None:
    couple = Couple()
    couple.network.jitter = 0.005
    couple.talk(600, 0.5)
    assert len({path_of(couple.left)}) == 1
    assert len([event for event in couple.left.selections if event.is_nominated]) == 1


def test_nothing_is_searched_while_nothing_is_sent() -> None:
    couple = Couple()
    couple.cut(V4)
    couple.network.run(60)
    assert couple.left.agent.state is AgentState.IDLE
    before = len(couple.network.log)
    couple.network.run(600)
    assert not [sent for sent in couple.network.log[before:] if sent.packet.source.address.version == V4]


# Restart


def test_both_sides_restart_at_once_and_meet_in_one_generation() -> None:
    couple = Couple()
    couple.talk(3)
    for side in couple.sides:
        side.agent.restart(couple.network.now)
    before = path_of(couple.left)
    couple.talk(0.05)
    assert path_of(couple.left) == before, "the old pair carries data until the new one can"
    couple.talk(2)
    assert [side.agent.generation for side in couple.sides] == [1, 1]
    assert [restarts(side) for side in couple.sides] == [[RestartReason.REQUESTED]] * 2
    assert all(is_settled(side) for side in couple.sides)
    assert AgentState.CHECKING not in couple.left.states[1:]


def test_one_side_restarts_and_the_other_follows_its_checks() -> None:
    couple = Couple()
    couple.right.agent.restart(couple.network.now, RestartReason.NETWORK_CHANGED)
    couple.talk(2)
    assert restarts(couple.left) == [RestartReason.PEER]
    assert [side.agent.generation for side in couple.sides] == [1, 1]
    assert couple.left.agent.remote_credentials == couple.right.agent.local_credentials


def test_restart_by_signalling() -> None:
    couple = Couple(is_prepared=False)
    couple.left.agent.restart(couple.network.now)
    couple.talk(1)
    assert is_settled(couple.left), "nothing breaks while the other side doesn't know"
    couple.signal(couple.left)
    couple.signal(couple.right)
    couple.talk(1)
    assert [side.agent.generation for side in couple.sides] == [1, 1]
    assert couple.right.agent.remote_credentials == couple.left.agent.local_credentials
    assert all(is_settled(side) for side in couple.sides)


def test_next_credentials_that_come_after_the_restart_begin_the_checks() -> None:
    couple = Couple(is_prepared=False)
    for side in couple.sides:
        side.agent.restart(couple.network.now)
    couple.left.agent.set_next_remote_credentials(couple.right.agent.local_credentials, couple.network.now)
    assert couple.left.agent.remote_credentials == couple.right.agent.local_credentials
    couple.left.agent.set_next_remote_credentials(couple.right.agent.local_credentials, couple.network.now)
    assert couple.left.agent.remote_credentials == couple.right.agent.local_credentials


def test_old_generation_answers_late_checks_for_ten_seconds_after_the_nomination() -> None:
    couple = Couple()
    old = couple.right.agent.local_ufrags[0]
    couple.left.agent.restart(couple.network.now)
    couple.talk(1)
    assert old in couple.right.agent.local_ufrags
    couple.talk(8)
    assert old in couple.right.agent.local_ufrags
    couple.talk(2.5)
    assert old not in couple.right.agent.local_ufrags


def test_restart_that_has_not_got_through_is_hastened() -> None:
    couple = Couple()
    couple.cut(V4, V6)
    couple.left.agent.restart(couple.network.now, RestartReason.NETWORK_CHANGED)
    couple.talk(20)
    assert couple.left.agent.generation == 1
    couple.cut()
    couple.left.agent.restart(couple.network.now, RestartReason.NETWORK_CHANGED)
    assert couple.left.agent.generation == 1, "the one under way is enough"
    couple.talk(0.3)
    assert all(is_settled(side) for side in couple.sides)


def test_flapping_network_restarts_once_a_second() -> None:
    couple = Couple()
    for _ in range(100):
        couple.left.agent.restart(couple.network.now, RestartReason.NETWORK_CHANGED)
        couple.talk(0.05)
        couple.prepare()
    assert 4 <= couple.left.agent.generation <= 6
    couple.talk(2)
    assert OUTSIDE_INTERVAL == 1.0
    assert all(is_settled(side) for side in couple.sides)


def test_closed_agent_does_not_restart() -> None:
    side = make_side("192.0.2.1:1")
    side.agent.close(START)
    side.agent.restart(START)
    assert (side.agent.state, side.agent.generation) == (AgentState.CLOSED, 0)


# Losing a path


def test_suspect_path_restarts_by_itself() -> None:
    couple = Couple(left=("192.0.2.1:1000",), right=("192.0.2.2:2000",))
    couple.cut(V4)
    couple.talk(3)
    assert restarts(couple.left) == [RestartReason.SUSPECT]
    couple.cut()
    couple.talk(12)
    assert [side.agent.generation for side in couple.sides] == [1, 1]
    assert couple.left.state() is AgentState.CONNECTED


def test_path_that_turns_suspect_again_soon_waits_with_the_next_restart_and_does_without_when_it_recovers() -> None:
    config = AgentConfig(restart_interval=30.0)
    couple = Couple(left=("192.0.2.1:1000",), right=("192.0.2.2:2000",), config=config)
    couple.left.agent.restart(couple.network.now)
    couple.talk(2)
    couple.prepare()
    couple.cut(V4)
    couple.talk(4)
    assert couple.left.state() is AgentState.SUSPECT
    assert couple.left.agent.generation == 1
    couple.cut()
    couple.talk(60)
    assert couple.left.agent.generation == 1
    assert couple.left.state() is AgentState.CONNECTED


def test_lost_consent_is_no_end_where_the_next_credentials_are_known() -> None:
    couple = Couple()
    couple.talk(2)
    couple.cut(V4, V6)
    couple.talk(100)
    changes = [event for event in couple.left.events if isinstance(event, StateChanged)]
    lost = [event for event in changes if event.state is AgentState.CHECKING][-1]
    assert lost.reason is FailureReason.CONSENT_EXPIRED
    assert not couple.left.agent.may_send(couple.network.now)
    before = len(couple.network.log)
    couple.talk(600, 1.0)
    rate = (len(couple.network.log) - before) / 600 / 2
    assert rate < 0.5, "it goes on trying, quietly"
    times = [sent.at for sent in couple.network.log[before:] if sent.packet.source == at("192.0.2.1:1000")]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 25, "NATs stay open"
    couple.cut()
    for side in couple.sides:
        side.agent.restart(couple.network.now, RestartReason.RESUMED)
    couple.talk(1)
    assert all(is_settled(side) for side in couple.sides)
    assert [side.agent.state for side in couple.sides] == [AgentState.CONNECTED] * 2


def test_lost_consent_is_the_end_where_they_are_not() -> None:
    couple = Couple(is_prepared=False)
    couple.cut(V4, V6)
    couple.talk(35)
    assert couple.left.agent.state is AgentState.FAILED
    assert couple.left.agent.next_timeout() is None
    couple.left.agent.restart(couple.network.now)
    assert couple.left.state() is AgentState.CHECKING, "a restart revives it"
    couple.cut()
    couple.right.agent.restart(couple.network.now)
    couple.signal(couple.left)
    couple.signal(couple.right)
    couple.talk(2)
    assert all(is_settled(side) for side in couple.sides)


def test_expired_pair_is_never_checked_again_with_the_same_credentials() -> None:
    """RFC 7675 5.1."""
    couple = Couple(is_prepared=False)
    couple.cut(V4, V6)
    while V6 in [family(side) for side in couple.sides]:
        couple.talk(0.1)
    couple.cut()
    couple.talk(5)
    assert [family(side) for side in couple.sides] == [V4, V4]
    couple.talk(5)
    before = len(couple.network.log)
    couple.talk(300, 0.5)
    couple.left.agent.restart(couple.network.now)  # which hastens nothing: the peer doesn't know
    couple.talk(5)
    assert not [sent for sent in couple.network.log[before:] if sent.packet.source.address.version == V6]


def test_address_that_goes_takes_its_path_along_and_another_takes_over_at_once() -> None:
    couple = Couple()
    couple.talk(5)
    couple.remove_base(couple.left, "[2001:db8::1]:1000")
    assert family(couple.left) == V4
    couple.talk(1)
    assert family(couple.right) == V4


def test_new_address_is_used_within_two_seconds_without_signalling() -> None:
    couple = Couple(left=("192.0.2.1:1000",), right=("192.0.2.2:2000",))
    couple.talk(3)
    began = couple.network.now
    couple.remove_base(couple.left, "192.0.2.1:1000")
    assert path_of(couple.left) is None
    couple.add_base(couple.left, "192.0.2.77:1000")
    couple.left.agent.restart(couple.network.now, RestartReason.NETWORK_CHANGED)
    couple.talk_until_moved(couple.right)
    assert couple.network.now - began < 2.0
    assert path_of(couple.left) == (at("192.0.2.77:1000"), at("192.0.2.2:2000"))


# What else may come


def test_lite_peer_makes_us_controlling() -> None:
    side = make_side("192.0.2.1:1", role=Role.CONTROLLED)
    side.agent.set_remote_options(RemoteOptions(is_lite=True), START)
    assert side.agent.role is Role.CONTROLLING


def test_networks_that_turn_out_to_be_in_a_tunnel_are_refused_from_then_on() -> None:
    couple = Couple()
    couple.left.agent.refuse_networks((ip_network("10.77.0.0/16"),))
    couple.left.agent.add_remote_candidate(host("10.77.1.1:1"), couple.network.now)
    assert at("10.77.1.1:1") not in [each.endpoint for each in couple.left.agent.remote_candidates]
    couple.left.agent.restart(couple.network.now)
    couple.left.agent.add_remote_candidate(host("10.77.1.1:1"), couple.network.now)
    assert at("10.77.1.1:1") not in [each.endpoint for each in couple.left.agent.remote_candidates]
    couple.left.agent.receive_datagram(
        couple.network.log[0].packet.payload, at("10.77.1.1:5"), at("192.0.2.1:1000"), 1e4
    )
    assert sum(couple.left.agent.drops.values()) == 3


def test_withdrawn_candidate_is_forgotten_unless_it_works() -> None:
    couple = Couple()
    unknown = host("192.0.2.99:1")
    couple.left.agent.add_remote_candidate(unknown, couple.network.now)
    working, withdrawn = couple.left.agent.remote_candidates[0], couple.left.agent.remote_candidates[-1]
    assert withdrawn.endpoint == unknown.endpoint
    pairs = len(couple.left.agent.pairs)
    couple.left.agent.remove_remote_candidate(unknown, couple.network.now)
    couple.left.agent.remove_remote_candidate(unknown, couple.network.now)
    couple.left.agent.remove_remote_candidate(working, couple.network.now)
    assert len(couple.left.agent.pairs) == pairs - 1
    couple.talk(5)
    assert is_settled(couple.left)


def test_upgrade_from_a_relay_restarts_where_the_peer_knows_no_renomination() -> None:
    couple = Couple(has_renomination=False)
    couple.talk(5)
    agent = couple.left.agent
    assert agent.selected is not None
    told = next(each for each in agent.remote_candidates if each.endpoint == agent.selected.destination)
    for pair in agent._lineage.newest.checklist.pairs:  # the peer's relay comes with TURN: call its candidate one
        if pair.remote is told:
            pair.remote = replace(told, type=CandidateType.RELAYED)
    couple.talk(10)
    assert restarts(couple.left) == [RestartReason.UPGRADE]
    couple.talk(5)
    assert all(is_settled(side) for side in couple.sides)


def test_kernel_refusal_moves_traffic_at_once() -> None:
    couple = Couple()
    couple.talk(5)
    path = path_of(couple.left)
    assert path is not None
    couple.left.agent.record_send_error(*path, SendError.UNREACHABLE, couple.network.now)
    assert path_of(couple.left) != path


def test_kernel_refusal_of_the_only_path_makes_it_suspect() -> None:
    couple = Couple(left=("192.0.2.1:1000",), right=("192.0.2.2:2000",))
    path = path_of(couple.left)
    assert path is not None
    couple.left.agent.record_send_error(*path, SendError.UNREACHABLE, couple.network.now)
    assert couple.left.state() is AgentState.SUSPECT
    couple.talk(1)
    assert couple.left.state() is AgentState.CONNECTED


def test_patience_and_what_is_waited_for_have_names() -> None:
    couple = Couple()
    assert isinstance(couple.left.agent.next_timer, Timer)
    couple.talk(4)
    names = set()
    for _ in range(40):
        names.add(couple.left.agent.next_timer)
        couple.network.run(1)
    assert {Timer.CONSENT} <= names


@pytest.mark.parametrize("seed", range(20))
def test_restart_storm_in_the_middle_of_loss_converges(seed: int) -> None:
    couple = Couple(seed=seed)
    couple.network.loss = 0.3
    for count in range(6):
        side = couple.sides[count % 2]
        side.agent.restart(couple.network.now)
        couple.talk(0.7)
        couple.prepare()
    couple.network.loss = 0.0
    for _ in range(15):
        couple.talk(1)
        couple.prepare()
    assert len({side.agent.generation for side in couple.sides}) == 1, seed
    assert all(is_settled(side) for side in couple.sides), seed
    paths = [path_of(side) for side in couple.sides]
    assert paths[0] is not None
    assert paths[1] == paths[0][::-1], seed


def test_generations_never_pile_up() -> None:
    couple = Couple()
    for _ in range(20):
        couple.left.agent.restart(couple.network.now)
        couple.talk(0.5)
        couple.prepare()
        assert len(couple.left.agent.local_ufrags) <= 4
    assert couple.left.agent.generation == 20


def test_restarts_in_quick_succession_keep_the_pair_that_carries() -> None:
    couple = Couple()
    couple.talk(1)
    before = path_of(couple.left)
    for _ in range(5):
        couple.left.agent.restart(couple.network.now)
        couple.left.agent.restart(couple.network.now, RestartReason.PEER)
        assert path_of(couple.left) == before
        assert couple.left.agent.may_send(couple.network.now)
    couple.talk(1)
    assert path_of(couple.left) == before, "the other side hasn't heard of any of them yet"


def test_answers_and_checks_of_strangers_restart_nothing() -> None:
    network = Network()
    left, right = make_side("192.0.2.1:1"), make_side("192.0.2.2:2", role=Role.CONTROLLED, seed=2)
    assert connect(network, left, right)
    next_name = right.agent.next_credentials
    liar = make_side("192.0.2.9:9", seed=9)
    plug(network, liar)
    gather(network, liar)
    signal(network, right, liar)
    liar.agent.set_remote_credentials(Credentials(next_name.ufrag, "x" * 24), network.now)
    liar.agent.add_remote_candidate(replace(host("192.0.2.2:2"), ufrag=""), network.now)
    network.run(3)
    assert right.agent.generation == 0


def test_next_credentials_of_any_but_the_next_generation_are_of_no_use() -> None:
    couple = Couple(is_prepared=False)
    theirs = couple.right.agent.next_credentials
    for generation in (0, 2, 7):
        couple.left.agent.set_next_remote_credentials(replace(theirs, generation=generation), couple.network.now)
    couple.left.agent.restart(couple.network.now)
    assert couple.left.agent.remote_credentials is None


def test_whoever_waits_for_people_checks_every_second_and_only_minutes_later_less_often() -> None:
    """The other side's NAT lets our next check in once it has begun: that must not be half a minute away."""
    network = Network()
    side = make_side("192.0.2.1:1", config=AgentConfig(pac_timeout=3600.0))
    plug(network, side)
    gather(network, side)
    side.agent.set_remote_credentials(Credentials("peer", "p" * 22), network.now)
    for number in (8, 9):
        side.agent.add_remote_candidate(host(f"192.0.2.{number}:1"), network.now)
    network.run(400)
    times = [sent.at - START for sent in network.log if sent.packet.destination == at("192.0.2.8:1")]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gap for gap, at_ in zip(gaps, times, strict=False) if at_ < 290) < 1.1
    assert max(gap for gap, at_ in zip(gaps, times, strict=False) if at_ > 305) > 7


def test_whoever_hears_the_peer_leaves_the_rest_to_the_ladder() -> None:
    network = Network()
    config = AgentConfig(pac_timeout=3600.0)
    left, right = make_side("192.0.2.1:1", config=config), make_side("192.0.2.2:2", role=Role.CONTROLLED, seed=2)
    plug(network, left, right)
    for side in (left, right):
        gather(network, side)
    signal(network, left, right)
    signal(network, right, left)
    network.is_cut = lambda packet: packet.source == at("192.0.2.1:1")
    network.run(60)
    assert len([sent for sent in network.log if sent.host is left and sent.at > START + 40]) < 40


def test_packet_that_waits_for_a_lost_peer_has_it_looked_for_at_once() -> None:
    couple = Couple()
    couple.talk(2)
    couple.cut(V4, V6)
    couple.talk(200, 1.0)
    assert couple.left.agent.selected is None
    couple.cut()
    began = couple.network.now
    couple.left.agent.request_consent(began)
    couple.left.agent.request_consent(began)
    couple.talk(0.3)
    assert is_settled(couple.left)
    couple.left.agent.request_consent(couple.network.now)
    assert path_of(couple.left) is not None


def test_two_pairs_that_the_kernel_refuses_do_not_take_turns() -> None:
    """Each turn would send something, be refused, and bring the next one: for ever, in no time at all."""
    couple = Couple()
    couple.talk(5)
    moves = len(couple.left.selections)
    for _ in range(50):
        path = path_of(couple.left)
        assert path is not None
        couple.left.agent.record_send_error(*path, SendError.UNREACHABLE, couple.network.now)
        couple.network.flush()
    assert len(couple.left.selections) <= moves + 2
    couple.talk(3)
    assert couple.left.state() is AgentState.CONNECTED


def test_two_sides_that_know_no_next_credentials_find_each_other_while_one_of_them_still_checks() -> None:
    """One has lost consent and may not ask; the other is idle and hears nothing but answers: for ever, otherwise."""
    couple = Couple(left=("192.0.2.1:1000",), right=("192.0.2.2:2000",))
    couple.left.agent.restart(couple.network.now)
    couple.talk(3)
    assert [side.agent.generation for side in couple.sides] == [1, 1]
    couple.network.is_cut = lambda packet: packet.source == at("192.0.2.1:1000")
    couple.right.agent.record_sent(couple.network.now)
    for _ in range(80):
        couple.left.agent.record_sent(couple.network.now)
        couple.network.run(0.5)
    assert couple.left.agent.selected is None
    couple.cut()
    couple.network.run(60)
    couple.talk(1)
    assert all(is_settled(side) for side in couple.sides)
    assert [side.agent.generation for side in couple.sides] == [1, 1]


def test_machine_without_any_network_for_minutes_is_back_when_it_has_one() -> None:
    couple = Couple(left=("192.0.2.1:1000",), right=("192.0.2.2:2000",))
    couple.talk(3)
    couple.remove_base(couple.left, "192.0.2.1:1000")
    couple.talk(300, 0.5)
    assert couple.left.state() is AgentState.CHECKING
    couple.add_base(couple.left, "192.0.2.1:1000")
    couple.left.agent.restart(couple.network.now, RestartReason.NETWORK_CHANGED)
    couple.talk(2)
    assert all(is_settled(side) for side in couple.sides)
