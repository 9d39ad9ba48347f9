"""A server that relays for us and means us harm: it may drop what goes through it, and no more."""

from __future__ import annotations

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.node.drop import DropReason
from p2ptun.node.event import RelayRefused, RemoteCandidateFound
from p2ptun.node.relaying import PLACES
from p2ptun.turn.server import Server
from p2ptun.types import Transmit
from tests.sim.network import Network, at
from tests.sim.node import NodeHost, batch_of
from tests.turn.world import ALICE, Relay

OURS = "198.51.100.9:1000"
MALLORY = Server(at("203.0.113.66:3478"), "relay.example")


def converse(host: NodeHost, relay: Relay) -> None:
    """Carry what node and server say to each other."""
    while host.node.next_order() is not None:
        pass
    while (transmit := host.node.next_transmit()) is not None:
        reply = relay.receive(transmit.payload, host.now, transmit.source)
        if reply is not None:
            host.node.receive_datagrams(batch_of([reply]), [transmit.destination], transmit.source, host.now)


def use(host: NodeHost, relay: Relay) -> None:
    host.node.add_turn_server(MALLORY, ALICE, None, host.now)
    host.node.end_of_servers(host.now)
    converse(host, relay)


def told(host: NodeHost) -> list[tuple[CandidateType, str]]:
    return [(each.type, str(each.endpoint)) for each in host.peer("bob").agent.local_candidates]


def test_it_draws_no_traffic_away_from_a_socket_of_ours_by_naming_that() -> None:
    host, relay = NodeHost(Network(1), "alice", OURS), Relay(MALLORY.endpoint, [at(OURS)])
    host.add_peer("bob")
    use(host, relay)
    assert relay.made == 1
    assert not host.node.relays.owns(at(OURS))
    assert told(host) == [(CandidateType.HOST, OURS)]
    host.take()
    assert any(isinstance(event, RelayRefused) for event in host.events())


def test_nor_from_one_that_comes_later() -> None:
    host, relay = NodeHost(Network(1), "alice", OURS), Relay(MALLORY.endpoint, [at("198.51.100.10:2000")])
    host.add_peer("bob")
    use(host, relay)
    assert (CandidateType.RELAYED, "198.51.100.10:2000") in told(host)
    host.node.add_local_address(at("198.51.100.10:2000"), host.now)
    assert not host.node.relays.owns(at("198.51.100.10:2000"))
    assert told(host) == [(CandidateType.HOST, OURS), (CandidateType.HOST, "198.51.100.10:2000")]
    host.node.remove_local_address(at("198.51.100.10:2000"), host.now)
    assert told(host) == [(CandidateType.HOST, OURS)]


def test_a_peer_with_ever_new_places_leaves_the_relay_to_the_others() -> None:
    host, relay = NodeHost(Network(1), "alice", OURS), Relay(MALLORY.endpoint, [at("198.51.100.10:2000")])
    bob = host.add_peer("bob")
    use(host, relay)
    most, interval = PLACES
    for number in range(most + 20):
        place = at(f"192.0.2.{number}:7")
        candidate = Candidate(CandidateType.HOST, place, 1, str(number), place)
        host.node._relaying.follow(bob, RemoteCandidateFound(candidate), host.now)
        host.node._relaying.follow(bob, RemoteCandidateFound(candidate), host.now)
    assert host.node.drops[DropReason.TOO_MANY_PLACES] == 40
    late = Candidate(CandidateType.HOST, at("192.0.2.200:7"), 1, "late", at("192.0.2.200:7"))
    host.node._relaying.follow(bob, RemoteCandidateFound(late), host.now + 20 * interval)
    assert host.node.drops[DropReason.TOO_MANY_PLACES] == 40
    host.node._relaying.send(bob, Transmit(b"x", at("198.51.100.10:2000"), at("192.0.2.0:7")), host.now)
    carol = host.add_peer("carol")
    host.node._relaying.follow(carol, RemoteCandidateFound(late), host.now)
    assert host.node.drops[DropReason.TOO_MANY_PLACES] == 40
