"""Candidates that come late travel through the tunnel; what a peer says there is bounded and believed no further."""

from __future__ import annotations

import itertools
import random

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.named import disguise, place_of
from p2ptun.ice.scope import is_refused
from p2ptun.node.event import (
    GatheringCompleted,
    LocalCandidateFound,
    LocalCandidateRemoved,
    PeerState,
    RemoteCandidateFound,
    RemoteCandidateRemoved,
    RemoteNameFound,
)
from p2ptun.node.signalling import NEWS_BURST, NEWS_PER_SECOND
from p2ptun.signal.candidate import encode_candidate
from p2ptun.tunnel.control import MAX_CANDIDATES, IceCredentials, IceDescription
from tests.node.world import SOCKET_A, SOCKET_B, World, ping
from tests.sim.nat import Behaviour, Nat
from tests.sim.network import at

LATE = "198.51.100.7:7007"
HOME, OFFICE = "192.168.1.2:1", "172.16.0.2:2"


def add_socket(world: World, socket: str) -> None:
    """Give Alice another socket."""
    world.network.plug(world.alice, at(socket))
    world.alice.node.add_local_address(at(socket), world.network.now)
    world.alice.take()
    world.network.flush()


def between_nats(seed: int = 1) -> World:
    """Put both behind NATs whose public address a STUN server tells."""
    world = World(seed, sockets=(HOME, OFFICE))
    world.network.add_nat(Nat("203.0.113.1", "192.168.0.0/16"))
    world.network.add_nat(Nat("203.0.113.2", "172.16.0.0/12"))
    return world


def ask_servers(world: World, delay: float = 0.0) -> None:
    server = world.network.add_stun_server("203.0.113.9:3478", delay)
    for host in (world.alice, world.bob):
        host.node.add_stun_server(server, world.network.now)
        host.node.end_of_servers(world.network.now)
        host.take()
    world.network.flush()


def redescribe(world: World) -> None:
    """Take the descriptions again: more is known by now."""
    world.offer = type(world.offer)(world.offer.credentials, world.to_bob.describe())
    world.answer = type(world.answer)(world.answer.credentials, world.to_alice.describe())


REVISIONS = itertools.count(1000)


def tell(world: World, *packed: bytes) -> None:
    """Let Alice say candidates through the tunnel, in place of those she has."""
    assert world.to_bob.link is not None
    own, following = world.to_bob.agent.local_credentials, world.to_bob.agent.next_credentials
    credentials, next_credentials = (
        IceCredentials(each.generation, each.ufrag, each.password) for each in (own, following)
    )
    message = IceDescription(next(REVISIONS), 0, credentials, next_credentials, packed, False, 0)
    world.to_bob.link.session.send_control(message, world.network.now)
    world.to_bob.handle_timeout(world.network.now)
    world.network.run(0.5)


def test_a_late_local_candidate_is_told_through_the_tunnel_and_used() -> None:
    """Two sides behind NATs are connected when one of them gets a public address: that makes a better path."""
    world = between_nats()
    ask_servers(world)
    world.network.run(1)
    redescribe(world)
    world.connect()
    assert world.to_alice.path is not None
    assert world.to_alice.path.remote.type is CandidateType.SERVER_REFLEXIVE
    add_socket(world, LATE)
    world.network.run(3)
    told = [event.candidate.endpoint for event in world.bob.events("alice") if isinstance(event, RemoteCandidateFound)]
    assert told[-1] == at(LATE)
    assert world.to_bob.path is not None
    assert world.to_bob.path.base == world.to_alice.path.destination == at(LATE)
    world.network.is_cut = lambda packet: at(HOME) in (packet.source, packet.destination)
    packets, _ = world.talk(50)
    assert world.bob.received == packets, world.describe()


def test_a_candidate_is_told_once() -> None:
    world = World().connect().settle()
    add_socket(world, LATE)
    add_socket(world, LATE)
    world.talk(5)
    found = [event for event in world.bob.events("alice") if isinstance(event, RemoteCandidateFound)]
    assert len(found) == 2


def test_a_server_that_answers_after_the_handshake_is_told_of_then() -> None:
    world = World()
    ask_servers(world, delay=1.0)
    world.connect()
    world.network.run(3)
    assert GatheringCompleted() in world.alice.events("bob")
    # no NAT here: the server-reflexive candidate is the host candidate again, so nothing new is to be told
    assert [each.type for each in world.to_bob.agent.local_candidates] == [CandidateType.HOST]


def test_two_sides_behind_nats_meet() -> None:
    world = between_nats()
    ask_servers(world)
    world.network.run(1)
    redescribe(world)
    world.connect()
    path = world.to_bob.path
    assert path is not None
    assert path.destination.address == at("203.0.113.2:1").address
    assert world.network.lost["filtered"] + world.network.lost["no route to a private address"] > 0


def test_a_new_public_address_is_told_as_a_replacement() -> None:
    world = World(sockets=(HOME, SOCKET_B))
    nat = world.network.add_nat(Nat("203.0.113.1", "192.168.0.0/16", filtering=Behaviour.ENDPOINT_INDEPENDENT))
    ask_servers(world)
    world.network.run(1)
    redescribe(world)
    nat.reboot()
    world.network.run(60)
    changed = [each for each in world.alice.events("bob") if isinstance(each, LocalCandidateFound) and each.replaced]
    assert len(changed) == 1
    assert changed[0].replaced is not None
    assert changed[0].candidate.endpoint.port != changed[0].replaced.endpoint.port
    world.connect()
    world.network.run(2)
    told = [event.candidate.endpoint for event in world.bob.events("alice") if isinstance(event, RemoteCandidateFound)]
    assert changed[0].candidate.endpoint in told, "what the description lacked came through the tunnel"


def test_a_flood_of_candidates_is_told_no_further_than_it_is_believed() -> None:
    """Else a peer could fill the log of whoever keeps the `--json` events."""
    world = World().connect().settle()
    draw, began_at = random.Random(1).randbytes, world.network.now
    for _ in range(100):
        tell(world, *(b"\0\xcb\0\x71" + draw(5) for _ in range(MAX_CANDIDATES)))  # hosts in 203.0.113.0/24
    found = [event for event in world.bob.events("alice") if isinstance(event, RemoteCandidateFound)]
    believed = NEWS_BURST + NEWS_PER_SECOND * (world.network.now - began_at)
    assert 2 < len(found) <= believed * MAX_CANDIDATES < 100 * MAX_CANDIDATES / 3
    assert world.to_alice.drops["peer: description too soon after others"] >= 100 - believed
    packets, _ = world.talk(3)
    assert world.bob.received == packets, world.describe()


def test_malformed_candidates_from_the_tunnel_are_passed_over() -> None:
    world = World().connect().settle()
    good = encode_candidate(world.to_bob.agent.local_candidates[0])
    late = good[:-4] + (9999).to_bytes(2, "big") + good[-2:]
    rng = random.Random(5)
    tell(world, b"", b"\xff", good[:-1], late, *(rng.randbytes(rng.randrange(1, 40)) for _ in range(20)))
    assert world.is_connected()
    endpoints = [candidate.endpoint for candidate in world.to_alice.agent.remote_candidates]
    assert at("192.0.2.1:9999") in endpoints
    world.alice.send(ping(1))
    world.network.run(1)
    assert ping(1) in world.bob.received


def test_a_peer_can_not_send_us_anywhere_we_refuse_to_go() -> None:
    world = World().connect().settle()
    good = encode_candidate(world.to_bob.agent.local_candidates[0])
    tell(
        world, *(good[:1] + bytes([*address]) + good[5:] for address in ((127, 0, 0, 1), (224, 0, 0, 1), (0, 0, 0, 0)))
    )
    world.talk(10)
    refused = world.to_alice.agent.drops
    assert sum(refused.values()) >= 3
    assert not [
        each.packet
        for each in world.network.log
        if is_refused(each.packet.destination, world.bob.config.refused_networks)
    ]


def test_a_flood_of_candidates_is_bounded() -> None:
    world = World().connect().settle()
    good = encode_candidate(world.to_bob.agent.local_candidates[0])
    for port in range(2000, 2500, 25):
        tell(world, *(good[:-4] + (port + offset).to_bytes(2, "big") + good[-2:] for offset in range(25)))
        assert len(world.to_alice.agent.remote_candidates) <= 2 * world.bob.config.max_candidates
        assert len(world.to_alice.agent.pairs) <= world.bob.config.max_pairs
    assert world.to_alice.state is PeerState.CONNECTED
    packets, _ = world.talk(3)
    assert world.bob.received == packets, world.describe()


def test_a_socket_that_is_gone_is_told_of() -> None:
    world = World().connect().settle()
    add_socket(world, LATE)
    world.network.run(2)
    assert at(LATE) in [each.endpoint for each in world.to_alice.agent.remote_candidates]
    world.alice.node.remove_local_address(at(LATE), world.network.now)
    world.alice.take()
    world.network.run(2)
    gone = [each.candidate.endpoint for each in world.alice.events("bob") if isinstance(each, LocalCandidateRemoved)]
    assert gone == [at(LATE)]
    told = [each for each in world.bob.events("alice") if isinstance(each, RemoteCandidateRemoved)]
    assert [place_of(each.candidate) for each in told] == [at(LATE)]
    assert at(LATE) not in [each.endpoint for each in world.to_alice.agent.remote_candidates]
    packets, _ = world.talk(3)
    assert world.bob.received == packets, world.describe()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_told_arrives_whatever_the_network_loses(seed: int) -> None:
    world = World(seed).connect().settle()
    world.network.loss = 0.5
    world.network.jitter = 0.2
    world.network.repetition = 0.2
    sockets = [f"198.51.100.{number}:700{number}" for number in range(1, 8)]
    for socket in sockets:
        add_socket(world, socket)
        world.network.run(0.1)
    for socket in sockets[::2]:
        world.alice.node.remove_local_address(at(socket), world.network.now)
    world.alice.take()
    world.network.run(60)
    told = {each.endpoint for each in world.to_alice.agent.remote_candidates}
    assert {at(socket) for socket in sockets[1::2]} <= told, f"seed {seed}: {world.describe()}"
    assert not {at(socket) for socket in sockets[::2]} & told, f"seed {seed}: {world.describe()}"


def named(world: World, name: str) -> bytes:
    """Pack a candidate of Alice with a name in place of its address."""
    (host,) = world.to_bob.agent.local_candidates
    return encode_candidate(disguise(host, name))


NAME = "12345678-1234-4234-8234-123456789abc.local"


def test_a_name_is_told_and_its_address_is_used_once_it_is_known() -> None:
    world = World().connect().settle()
    tell(world, named(world, NAME))
    (asked,) = [each.candidate for each in world.bob.events("alice") if isinstance(each, RemoteNameFound)]
    assert asked.name == NAME
    assert at(SOCKET_A) not in [each.endpoint for each in world.to_alice.agent.remote_candidates]
    late = at(SOCKET_A).address + 5
    world.to_alice.resolve(asked, late, world.network.now)
    assert late in [each.endpoint.address for each in world.to_alice.agent.remote_candidates]
    tell(world, named(world, NAME))
    world.bob.take()
    assert len([each for each in world.bob.events("alice") if isinstance(each, RemoteNameFound)]) == 1
    tell(world)
    assert late not in [each.endpoint.address for each in world.to_alice.agent.remote_candidates]
    world.to_alice.resolve(asked, late, world.network.now)
    assert late not in [each.endpoint.address for each in world.to_alice.agent.remote_candidates], "too late"
    assert world.is_connected()
