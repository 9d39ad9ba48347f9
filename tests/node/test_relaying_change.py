"""What happens to a node's relays, and to paths beside them: death, return, new credentials, sleep, the end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig, PathPolicy
from p2ptun.ice.event import RestartReason
from p2ptun.node.event import (
    CredentialWanted,
    FailureReason,
    PeerState,
    PeerStateChanged,
    RelayLost,
    RelayRefused,
    RemoteCandidateFound,
    RemoteCandidateRemoved,
)
from p2ptun.node.order import OpenSpares
from p2ptun.node.path import PathKind
from p2ptun.relay.event import AllocationEnded, AllocationMade, EndReason
from p2ptun.stun.credential import LongTermCredential
from p2ptun.turn.event import LossReason, Problem
from p2ptun.turn.status import AllocationState
from tests.sim.network import at
from tests.sim.relay import CREDENTIAL, USERS, RelayServer
from tests.sim.relayed import BOTH_EASY, EASY, HARD, RelayedScene

from .test_relaying import relayed_of, relayed_pair, told_of

ONLY_RELAYS = AgentConfig(path_policy=PathPolicy.RELAY)


def count_of(relay: RelayServer) -> int:
    """Count the allocations on a server that lives."""
    assert relay.core is not None
    return relay.core.allocation_count


def losses(scene: RelayedScene) -> list[str]:
    """Give the reasons for which Alice lost relays."""
    return [event.reason for event in scene.alice.events() if isinstance(event, RelayLost)]


# Death


def test_lost_relay_is_told_to_the_other_side_and_the_next_one_too() -> None:
    scene = RelayedScene(mappings=BOTH_EASY, uses=((0,), ())).connect()
    scene.talk(3)
    relayed = relayed_of(scene.alice)
    assert relayed in told_of(scene.bob, RemoteCandidateFound)
    scene.all_relays[0].kill()
    scene.talk(40, interval=1.0)
    (lost,) = [event for event in scene.alice.events() if isinstance(event, RelayLost)]
    assert (lost.relayed, lost.reason) == (relayed, LossReason.SILENT.value)
    assert relayed in told_of(scene.bob, RemoteCandidateRemoved)
    assert relayed not in {each.endpoint for each in scene.to_bob.agent.local_candidates}
    scene.all_relays[0].revive()
    scene.talk(130, interval=1.0)
    assert relayed_of(scene.alice) in told_of(scene.bob, RemoteCandidateFound)
    assert not scene.troubles()


def test_own_relay_on_a_suspect_path_is_asked_at_once() -> None:
    scene = RelayedScene(uses=((0,), ())).connect()
    scene.talk(3)
    relayed_pair(scene)
    scene.all_relays[0].kill()
    assert scene.talk(10, until=lambda: bool(losses(scene))) < 6.0
    suspect_at = next(
        each.at
        for each in scene.alice.log
        if isinstance(each.event, PeerStateChanged) and each.event.state is PeerState.SUSPECT
    )
    assert scene.network.now - suspect_at < 3.0


@pytest.mark.parametrize("seed", range(1, 6))
def test_second_relay_takes_over_within_three_seconds(seed: int) -> None:
    scene = RelayedScene(seed, uses=((0, 1), (0, 1))).connect()
    scene.talk(15)
    (used,) = scene.used
    used.kill()
    assert scene.gap_since(scene.network.now) < 3.0, scene.describe()
    scene.talk(10)
    assert used not in scene.used
    assert scene.is_relayed


@pytest.mark.parametrize("seed", range(1, 6))
def test_relay_takes_over_from_a_dead_path_and_yields_when_it_heals(seed: int) -> None:
    """Suspicion comes after two seconds at the latest; the relay is faster than that."""
    scene = RelayedScene(seed, mappings=BOTH_EASY).connect()
    scene.talk(15)
    assert scene.kinds() == {PathKind.DIRECT}
    scene.block_direct()
    assert scene.gap_since(scene.network.now) < 2.0, scene.describe()
    scene.talk(10)
    assert scene.kinds() == {PathKind.RELAY}
    scene.network.is_cut = lambda packet: False
    assert scene.talk(150, interval=0.25, until=lambda: not scene.is_relayed) < 130.0
    assert not scene.troubles(), "people notice nothing"


# Credentials


def test_new_credential_makes_a_second_allocation_and_traffic_has_no_gap() -> None:
    scene = RelayedScene(uses=((0,), ()), users={**USERS, "carol": "other"})
    relay, node = scene.all_relays[0], scene.alice.node
    node.set_turn_credential(relay.name, CREDENTIAL, scene.alice.now + 100.0, scene.alice.now)
    scene.network.run(1.0)
    scene.connect()
    wanted = CredentialWanted(relay.name)
    assert scene.talk(60, until=lambda: wanted in scene.alice.events()) < 51.0
    before = relayed_of(scene.alice)
    node.set_turn_credential(relay.name, LongTermCredential("carol", "other"), None, scene.alice.now)
    scene.network.flush()
    scene.talk(40)
    scene.network.run(1.0)
    assert max(after - before for before, after in pairwise(scene.bob.received_at)) < 0.2
    assert len(scene.bob.received) == len(scene.alice.received) == len(scene.sent_at)
    assert relayed_of(scene.alice) != before
    assert LossReason.REPLACED.value in losses(scene)
    assert {event.user for event in relay.events if isinstance(event, AllocationMade)} == {"alice", "carol"}
    assert count_of(relay) == 1


def test_refused_credential_is_told() -> None:
    scene = RelayedScene(uses=((0,), ()), users={"alice": "changed"})
    (refused,) = [event for event in scene.alice.events() if isinstance(event, RelayRefused)]
    assert (refused.reason, refused.code) == (Problem.WRONG_CREDENTIALS.value, 401)
    assert refused.server in scene.all_relays[0].servers


# Sleep, moves, the end


def test_awake_again_everything_is_asked_anew() -> None:
    scene = RelayedScene().connect()
    scene.talk(3)
    before = relayed_of(scene.alice)
    scene.alice.sleep()
    scene.network.run(60.0)
    scene.alice.wake()
    scene.network.run(3.0)
    assert losses(scene) == [LossReason.NETWORK_CHANGED.value]
    assert relayed_of(scene.alice) != before
    assert scene.gap_since(scene.network.now) < 10.0
    scene.talk(30)
    assert count_of(scene.all_relays[0]) == 2, "the old one was given back"


def test_relay_that_answers_stays_in_a_changed_network_and_one_that_does_not_is_lost() -> None:
    scene = RelayedScene(uses=((0, 1), ())).connect()
    scene.talk(3)
    scene.all_relays[1].kill()
    scene.alice.node.restart(RestartReason.NETWORK_CHANGED, scene.alice.now)
    scene.network.run(4.0)
    lost = [event.server.name for event in scene.alice.events() if isinstance(event, RelayLost)]
    assert lost == [scene.all_relays[1].name]


def test_server_that_was_away_is_asked_at_once_in_a_changed_network() -> None:
    scene = RelayedScene(uses=((0,), ()))
    scene.all_relays[0].kill()
    scene.network.run(200.0)
    assert AllocationState.READY not in {each.state for each in scene.alice.node.relays.allocations}
    scene.all_relays[0].revive()
    scene.alice.node.restart(RestartReason.NETWORK_CHANGED, scene.alice.now)
    scene.network.run(1.0)
    assert [each.state for each in scene.alice.node.relays.allocations] == [AllocationState.READY]


def test_machine_that_moves_takes_its_relays_along() -> None:
    scene = RelayedScene().connect()
    scene.talk(15)
    scene.alice.move("192.0.2.77:5000")
    assert scene.gap_since(scene.network.now) < 10.0
    scene.talk(30)
    assert count_of(scene.all_relays[0]) <= 3
    assert {socket.address for socket in scene.alice.ordered.tokens.values()} == {at("192.0.2.77:1").address}


def test_end_gives_everything_back_after_the_last_word() -> None:
    scene = RelayedScene(config=ONLY_RELAYS).connect()
    scene.talk(3)
    scene.alice.node.close(scene.alice.now)
    scene.alice.take()
    scene.network.run(5.0)
    assert scene.to_alice.reason is FailureReason.PEER_CLOSED
    assert not scene.alice.ordered.tokens
    assert not scene.alice.node.relays.allocations
    scene.bob.node.close(scene.bob.now)
    scene.network.run(5.0)
    relay = scene.all_relays[0]
    assert [event.reason for event in relay.events if isinstance(event, AllocationEnded)] == [EndReason.DELETED] * 2
    assert not relay.relayed


# Port searches beside a relay


@pytest.mark.parametrize("seed", range(1, 4))
def test_search_finds_a_direct_path_while_the_relay_carries_the_traffic(seed: int) -> None:
    scene = RelayedScene(seed, mappings=(HARD, EASY)).connect(2.0)
    assert scene.is_relayed
    assert scene.talk(40, until=lambda: not scene.is_relayed) < 30.0
    scene.talk(40)
    scene.network.run(1.0)
    assert len(scene.alice.received) == len(scene.bob.received) == len(scene.sent_at)
    path = scene.to_bob.path
    assert path is not None
    assert scene.alice.ordered.spares == {path.base}, "the rest was closed"
    assert CandidateType.RELAYED in {each.type for each in scene.to_bob.agent.local_candidates}


def test_peer_that_goes_gives_back_the_socket_that_a_search_has_found() -> None:
    scene = RelayedScene(mappings=(HARD, EASY), uses=((), (0,))).connect(5.0)
    scene.talk(40, until=lambda: not scene.is_relayed)
    scene.talk(10)
    assert scene.alice.ordered.spares
    scene.alice.node.remove_peer("bob", scene.alice.now)
    scene.alice.take()
    scene.network.run(1.0)
    assert not scene.alice.ordered.spares
    assert scene.to_alice.reason is FailureReason.PEER_CLOSED, "after the last word"


def test_no_sockets_are_ordered_for_a_peer_that_has_gone() -> None:
    scene = RelayedScene(mappings=(HARD, EASY), uses=((), (0,))).connect(5.0)
    node, now = scene.alice.node, scene.network.now
    while not any(isinstance(order, OpenSpares) for order in node._orders):
        now += 0.005
        node.handle_timeout(now)
        node.next_event()
        assert now < 1030.0
    node.remove_peer("bob", now)
    assert node.next_order() is None
    node.add_spare_address("bob", at("10.0.1.2:20000"), now)
    assert not node.peers


def test_machine_that_loses_its_address_loses_what_a_search_has_found() -> None:
    scene = RelayedScene(mappings=(HARD, EASY), uses=((0,), (0,))).connect(5.0)
    scene.talk(40, until=lambda: not scene.is_relayed)
    scene.talk(10)
    assert scene.alice.ordered.spares
    scene.alice.move("192.0.2.77:5000")
    assert scene.gap_since(scene.network.now) < 10.0
    scene.talk(5)
    assert not scene.alice.ordered.spares


def test_deadlines_lie_ahead() -> None:
    scene = RelayedScene(uses=((0, 1), (0,))).connect()
    for number in range(300):
        scene.say()
        scene.network.run(0.37)
        if number == 100:
            scene.all_relays[0].kill()
        for host in scene.hosts:
            host.handle_timeout(host.now)
            following = host.next_timeout()
            assert following is None or following > host.now
            assert host.node.why_awake()
        scene.network.flush()
