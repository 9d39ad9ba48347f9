"""Datagrams to a connected agent: nothing raises, nothing unauthenticated changes a state."""

from __future__ import annotations

from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint

NOW = 1000.0
BASE, PEER = Endpoint.of("192.0.2.1", 1), Endpoint.of("192.0.2.2", 2)


def test_one_input(data: bytes) -> None:
    """Feed the bytes as a datagram from the peer's address."""
    agent = Agent(AgentConfig(), Credentials("ours", "o" * 22), Role.CONTROLLED, 7, lambda count: b"r" * count)
    agent.add_local_address(BASE, NOW)
    agent.set_remote_credentials(Credentials("peer", "p" * 22), NOW)
    before = agent.next_timeout()
    agent.receive_datagram(data, PEER, BASE, NOW)
    assert sum(agent.drops.values()) == 1
    assert agent.pairs == ()
    assert agent.next_timeout() == before
    packet = agent.next_transmit()
    assert packet is None or len(packet.payload) <= len(data)
