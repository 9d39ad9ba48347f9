"""Somebody who has read both descriptions on their way, and so knows the passwords of the checks but no private key."""

from __future__ import annotations

from unittest import mock

import pytest

from p2ptun.ice.agent import Agent
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.role import Role
from p2ptun.node.event import PeerState
from p2ptun.node.peer import Peer
from tests.node.world import World
from tests.sim.node import NodeHost

MALLORY = "203.0.113.66:6666"


def pose_as_bob(world: World, tie_breaker: int) -> None:
    """Let Mallory check and nominate from an address of her own, with Bob's password and the highest priority."""
    mallory = NodeHost(world.network, "mallory", MALLORY)
    credentials = world.answer.credentials
    peer = Peer("alice", Agent(mallory.config, credentials, Role.CONTROLLING, tie_breaker, mallory.random_bytes))
    now = world.network.now
    mallory.node.add_peer(peer, now)
    peer.agent.set_remote_credentials(world.offer.credentials, now)
    for candidate in world.to_bob.describe():
        peer.agent.add_remote_candidate(candidate, now)
    peer.handle_timeout(now)
    world.network.flush()


@pytest.mark.parametrize("roles", [(Role.CONTROLLING, Role.CONTROLLED), (Role.CONTROLLED, Role.CONTROLLING)])
@pytest.mark.parametrize("tie_breaker", [0, 2**64 - 1])
def test_a_reader_of_the_blobs_draws_no_traffic_away(roles: tuple[Role, Role], tie_breaker: int) -> None:
    world = World(roles=roles).connect().settle()
    world.talk(1)
    world.alice.received.clear()
    world.bob.received.clear()
    with mock.patch.object(LocalCandidates, "check_priority", return_value=2**31 - 1):
        pose_as_bob(world, tie_breaker)
        sent = world.talk(60)
    assert (world.bob.received, world.alice.received) == sent, world.describe()
    assert world.to_bob.state is world.to_alice.state is PeerState.CONNECTED
