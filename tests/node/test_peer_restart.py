"""A tunnel through what real networks do: restarts, lost paths, other addresses, sleep. Keys and packets survive."""

from __future__ import annotations

import pytest

from p2ptun.ice.event import RestartReason
from p2ptun.ice.role import Role
from p2ptun.node.event import (
    FailureReason,
    PathSelected,
    PeerRekeyed,
    PeerRestarted,
    PeerState,
    PeerStateChanged,
    StandbySelected,
)
from p2ptun.node.path import Path
from p2ptun.tunnel.wire import MessageType
from tests.node.world import SOCKET_A, SOCKET_B, World, ping, pong
from tests.sim.network import at
from tests.sim.node import NodeHost

OTHER = "198.51.100.7:7007"
ANOTHER = "198.51.100.8:8008"


def move(world: World, host: NodeHost, old: str, new: str, peer: str) -> None:
    """Give a host another address in place of the one it has, and let it notice."""
    world.network.unplug(at(old))
    world.network.plug(host, at(new))
    host.node.add_local_address(at(new), host.now)
    host.node.remove_local_address(at(old), host.now)
    host.peer(peer).restart(RestartReason.NETWORK_CHANGED, host.now)
    host.take()
    world.network.flush()


def restarts(host: NodeHost, peer: str) -> list[RestartReason]:
    """Tell why a host restarted."""
    return [event.reason for event in host.events(peer) if isinstance(event, PeerRestarted)]


def assert_talk(world: World, seconds: float = 3.0) -> None:
    """Check that packets go both ways, all of them."""
    world.alice.received.clear()
    world.bob.received.clear()
    packets, answers = world.talk(seconds)
    world.network.run(0.5)
    assert (world.bob.received, world.alice.received) == (packets, answers), world.describe()


# Restarts


def test_a_restart_costs_no_packet_and_no_keys() -> None:
    world = World().connect().settle()
    world.talk(1)
    world.alice.received.clear()
    world.bob.received.clear()
    world.to_bob.restart(RestartReason.REQUESTED, world.network.now)
    packets, answers = world.talk(5, 0.01)
    world.network.run(0.5)
    assert (world.bob.received, world.alice.received) == (packets, answers)
    assert restarts(world.alice, "bob") == [RestartReason.REQUESTED]
    assert restarts(world.bob, "alice") == [RestartReason.PEER]
    for host, peer in ((world.alice, world.to_bob), (world.bob, world.to_alice)):
        assert peer.agent.generation == 1
        assert peer.agent.selected is not None
        assert peer.agent.selected.is_nominated
        assert not [event for event in host.events(peer.name) if isinstance(event, PeerRekeyed)]
        assert host.states(peer.name) == [PeerState.CONNECTED]


@pytest.mark.parametrize("seed", range(6))
def test_a_storm_of_restarts_from_both_sides_converges(seed: int) -> None:
    world = World(seed).connect().settle()
    world.network.loss = 0.2
    world.network.jitter = 0.03
    for number in range(40):
        for peer in (world.to_bob, world.to_alice):
            if (number + seed) % 3:
                peer.restart(RestartReason.REQUESTED, world.network.now)
        world.talk(0.1, 0.05)
    world.network.loss = 0.0
    assert world.network.run(10, world.is_connected), world.describe()
    world.network.run(20)
    assert world.to_bob.agent.generation == world.to_alice.agent.generation, f"seed {seed}"
    assert world.to_bob.agent.remote_credentials == world.to_alice.agent.local_credentials, f"seed {seed}"
    assert world.to_alice.agent.remote_credentials == world.to_bob.agent.local_credentials, f"seed {seed}"
    assert PeerState.FAILED not in world.alice.states("bob") + world.bob.states("alice"), f"seed {seed}"
    assert_talk(world)


def test_a_restart_whose_checks_are_lost_is_told_through_the_tunnel() -> None:
    """Alice restarts alone: her checks under the new name never arrive, but what the tunnel carries does."""
    world = World().connect().settle()
    old = world.to_alice.agent.local_credentials.ufrag.encode()
    world.network.is_cut = lambda packet: (
        packet.payload[0] == 0 and packet.source == at(SOCKET_A) and old not in packet.payload
    )
    world.to_bob.restart(RestartReason.REQUESTED, world.network.now)
    world.network.run(1)
    assert world.to_alice.agent.generation == 1
    assert restarts(world.bob, "alice") == [RestartReason.PEER]


# A path that is lost


def test_a_path_that_was_lost_is_found_again_with_nobody_s_help() -> None:
    world = World().connect().settle()
    world.talk(2)
    world.cut()
    world.talk(60)
    for host, peer in ((world.alice, world.to_bob), (world.bob, world.to_alice)):
        assert (peer.state, peer.reason) == (PeerState.CONNECTING, FailureReason.CONSENT_EXPIRED)
        assert peer.path is None
        lost = PeerStateChanged(PeerState.CONNECTING, FailureReason.CONSENT_EXPIRED)
        assert host.events(peer.name).count(lost) == 1
    world.mend()
    assert world.network.run(25, world.is_connected), world.describe()
    assert world.alice.failure("bob") is None
    assert not [event for event in world.alice.events("bob") if isinstance(event, PeerRekeyed)], "the keys still fit"
    world.network.run(0.5)
    assert len(world.bob.received) > 40, "packets waited"
    assert_talk(world)


def test_an_hour_without_a_path_costs_the_keys_and_nothing_else() -> None:
    world = World().connect().settle()
    world.cut()
    world.talk(60)
    world.network.run(3600)
    assert world.to_bob.state is PeerState.CONNECTING
    assert world.to_bob.link is not None
    assert world.to_bob.link.session.sending is None
    world.mend()
    assert world.network.run(30, world.is_connected), world.describe()
    assert PeerState.FAILED not in world.alice.states("bob") + world.bob.states("alice")
    world.network.run(0.5)
    assert_talk(world)


@pytest.mark.parametrize("seed", range(3))
def test_packets_that_wait_for_a_path_are_bounded_and_the_rest_counted(seed: int) -> None:
    world = World(seed).connect().settle()
    world.cut()
    world.talk(40)
    for number in range(200):
        world.alice.send(ping(number, 1000))
    drops = world.to_bob.drops["peer: queue full"]
    assert drops >= 130
    world.mend()
    assert world.network.run(25, world.is_connected), world.describe()
    world.network.run(1)
    assert 40 < len(world.bob.received) < 150
    assert world.to_bob.drops["peer: queue full"] == drops


def test_no_handshake_of_an_old_tunnel_is_final() -> None:
    """The first keys have to come within 20 s; later ones may take as long as they take."""
    world = World().connect().settle()
    world.cut()
    world.talk(40)
    world.network.run(1000)
    world.network.is_cut = lambda packet: packet.payload[0] == MessageType.INITIATION.value
    world.talk(300, 5)
    assert world.to_bob.path is not None
    assert world.state() is PeerState.CONNECTING
    world.mend()
    assert world.network.run(10, world.is_connected), world.describe()
    world.network.run(0.5)
    assert_talk(world)


# Another network


@pytest.mark.parametrize("seed", range(4))
def test_another_address_moves_the_traffic_in_under_two_seconds(seed: int) -> None:
    world = World(seed).connect().settle()
    world.talk(2)
    move(world, world.alice, SOCKET_A, OTHER, "bob")
    moved_at = world.network.now
    world.bob.received.clear()
    packets, _ = world.talk(2, 0.05)
    assert world.bob.received[-1:] == packets[-1:], f"seed {seed}: {world.describe()}"
    assert restarts(world.alice, "bob") == [RestartReason.NETWORK_CHANGED]
    assert world.to_bob.path is not None
    assert world.to_bob.path.base == at(OTHER)
    assert world.paths()
    changed = [each.at for each in world.alice.log if isinstance(each.event, PathSelected)]
    assert changed[-1] - moved_at < 2
    assert_talk(world)


def test_both_may_move_one_after_the_other() -> None:
    world = World().connect().settle()
    world.talk(2)
    move(world, world.alice, SOCKET_A, OTHER, "bob")
    world.talk(3)
    move(world, world.bob, SOCKET_B, ANOTHER, "alice")
    world.talk(3)
    assert_talk(world)
    assert world.to_bob.agent.generation == world.to_alice.agent.generation


def test_a_handshake_that_was_lost_on_the_old_path_is_repeated_on_the_new_one() -> None:
    """It would have waited for five seconds."""
    world = World().connect().settle()
    assert world.to_bob.link is not None
    session = world.to_bob.link.session
    world.network.is_cut = lambda packet: packet.payload[0] == MessageType.INITIATION.value
    session.initiate(world.network.now)
    world.to_bob.handle_timeout(world.network.now)
    world.network.run(1)
    assert PeerRekeyed() not in world.alice.events("bob")
    world.mend()
    move(world, world.alice, SOCKET_A, OTHER, "bob")
    world.network.run(1)
    assert PeerRekeyed() in world.alice.events("bob")


# Sleep


@pytest.mark.parametrize("hours", [0.01, 1, 10])
def test_after_sleep_the_tunnel_is_back_in_under_three_seconds(hours: float) -> None:
    """The clock stood still here, so the keys look young; the other side has dropped them long ago."""
    world = World().connect().settle()
    world.talk(5)
    world.network.suspend(world.alice)
    world.network.run(hours * 3600)
    world.network.resume(world.alice)
    resumed_at = world.network.now
    world.to_bob.restart(RestartReason.RESUMED, world.alice.now)
    world.alice.take()
    world.network.flush()
    world.bob.received.clear()
    while not world.bob.received:
        world.alice.send(ping(1))
        world.network.run(0.1)
        assert world.network.now < resumed_at + 3, world.describe()
    world.network.run(2)
    assert world.is_connected(), world.describe()
    assert_talk(world)


# What stands ready


def test_the_owner_is_told_what_stands_ready() -> None:
    world = World(sockets=(f"{SOCKET_A} {OTHER}", SOCKET_B)).connect()
    world.talk(10)
    told = [event.path for event in world.alice.events("bob") if isinstance(event, StandbySelected)]
    assert isinstance(told[-1], Path)
    assert told[-1] == world.to_bob.standby
    assert world.to_bob.path is not None
    assert {told[-1].base, world.to_bob.path.base} == {at(SOCKET_A), at(OTHER)}


def test_a_dead_path_is_left_for_the_one_that_stands_ready_in_under_a_second_of_doubt() -> None:
    world = World(sockets=(f"{SOCKET_A} {OTHER}", SOCKET_B)).connect()
    world.talk(10)
    assert world.to_bob.path is not None
    dead = world.to_bob.path.base
    world.network.is_cut = lambda packet: dead in (packet.source, packet.destination)
    world.talk(5, 0.1)
    suspected = world.alice.when(PeerState.SUSPECT) if PeerState.SUSPECT in world.alice.states("bob") else None
    moved = [each for each in world.alice.log if isinstance(each.event, PathSelected)][-1]
    assert isinstance(moved.event, PathSelected)
    assert moved.event.path.base != dead
    assert suspected is None or moved.at - suspected < 1
    assert_talk(world)


def test_packets_of_the_other_side_are_taken_from_any_of_our_sockets() -> None:
    world = World(sockets=(f"{SOCKET_A} {OTHER}", SOCKET_B)).connect()
    world.talk(5)
    world.bob.send(pong(99))
    world.network.run(0.5)
    assert pong(99) in world.alice.received


# Before there was a tunnel


@pytest.mark.parametrize("reason", [RestartReason.NETWORK_CHANGED, RestartReason.RESUMED])
@pytest.mark.parametrize("who", ["alice", "bob", "both"])
def test_what_people_carry_about_stays_good_when_the_network_changes_meanwhile(reason: RestartReason, who: str) -> None:
    """Descriptions are written down already, and nothing but them can tell new credentials."""
    world = World(roles=(Role.CONTROLLING, Role.CONTROLLING))
    world.tell_bob()
    world.network.run(2)
    for peer, name in ((world.to_bob, "alice"), (world.to_alice, "bob")):
        if who in (name, "both"):
            peer.restart(reason, world.network.now)
    world.alice.take()
    world.bob.take()
    world.network.flush()
    world.network.run(30)
    world.tell_alice()
    assert world.network.run(3, world.is_connected), world.describe()
    world.network.run(1)
    assert_talk(world)
