"""A new peer is told all that is known of this machine."""

from __future__ import annotations

from typing import TypeGuard

from p2ptun.node.event import LocalCandidateFound, LocalCandidateRemoved, RemoteCandidateFound, RemoteCandidateRemoved
from p2ptun.node.surroundings import Surroundings
from p2ptun.types import Endpoint

from .world import SOCKET_A, World

BASE, OTHER = Endpoint.of("192.0.2.9", 5009), Endpoint.of("192.0.2.10", 5010)
SERVER, GATEWAY = Endpoint.of("203.0.113.2", 3478), Endpoint.of("192.0.2.254", 5351)
EXTERNAL = Endpoint.of("198.51.100.9", 5009)


def test_a_new_peer_learns_sockets_servers_and_mappings() -> None:
    world = World()
    surroundings = Surroundings({BASE: None}, {SERVER: None}, {(BASE, GATEWAY): EXTERNAL}, is_settled=True)
    peer = world.to_bob
    surroundings.introduce(peer, 0.0)
    endpoints = {candidate.endpoint for candidate in peer.agent.local_candidates}
    assert {BASE, EXTERNAL} <= endpoints
    assert peer.agent.bindings[1] > 0


def test_what_a_socket_had_is_forgotten_with_it() -> None:
    surroundings = Surroundings({BASE: None, OTHER: None}, {}, {(BASE, GATEWAY): EXTERNAL, (OTHER, GATEWAY): EXTERNAL})
    surroundings.forget(BASE)
    assert surroundings.bases == {OTHER: None}
    assert surroundings.mapped == {(OTHER, GATEWAY): EXTERNAL}
    surroundings.forget(BASE)


def test_what_a_gateway_forwards_is_told_to_everybody_and_no_longer_than_it_does() -> None:
    world = World().connect().settle()
    node, base = world.alice.node, world.alice.sockets[0]
    assert str(base) == SOCKET_A
    node.add_mapped_address(base, EXTERNAL, GATEWAY, world.alice.now)
    world.alice.take()
    world.talk(2.0)
    assert EXTERNAL in {each.candidate.endpoint for each in world.alice.events("bob") if is_found(each)}
    assert EXTERNAL in {each.candidate.endpoint for each in world.bob.events("alice") if is_found(each)}
    for _ in range(2):
        node.remove_mapped_address(base, GATEWAY, world.alice.now)
        world.alice.take()
        world.talk(2.0)
    gone = [each for each in world.alice.events("bob") if isinstance(each, LocalCandidateRemoved)]
    assert [each.candidate.endpoint for each in gone] == [EXTERNAL]
    told = [each for each in world.bob.events("alice") if isinstance(each, RemoteCandidateRemoved)]
    assert len(told) == 1


def is_found(event: object) -> TypeGuard[LocalCandidateFound | RemoteCandidateFound]:
    return isinstance(event, LocalCandidateFound | RemoteCandidateFound)
