"""A new peer is told all that is known of this machine."""

from __future__ import annotations

from p2ptun.node.surroundings import Surroundings
from p2ptun.types import Endpoint

from .world import World

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
