"""Answers to a discovery and to a measurement of lifetimes: whatever they are, nothing raises, and little is sent."""

from __future__ import annotations

from p2ptun.nat.discovery import BASES, PATIENCE, Discovery
from p2ptun.nat.lifetime import BASES as LIFETIME_BASES
from p2ptun.nat.lifetime import LifetimeDiscovery
from p2ptun.stun.codec import MAGIC_COOKIE
from p2ptun.stun.trust import may_follow
from p2ptun.types import Endpoint

NOW = 1000.0
SERVER = Endpoint.of("203.0.113.2", 3478)
LOCALS = [Endpoint.of("192.168.1.10", 5000 + number) for number in range(max(BASES, LIFETIME_BASES))]
MOST = 400  # datagrams of one discovery


def test_one_input(data: bytes) -> None:
    """Give the bytes as they are, and as the attributes of an answer to every request: to each socket in turn."""
    discovery = Discovery(LOCALS[:BASES], bytes)
    discovery.add_server(SERVER, NOW)
    discovery.end_of_servers(NOW)
    lifetime = LifetimeDiscovery(SERVER, LOCALS[:LIFETIME_BASES], bytes, NOW)
    for machine in (discovery, lifetime):
        _answer(machine, data)
    assert discovery.is_complete


def _answer(machine: Discovery | LifetimeDiscovery, data: bytes) -> None:
    body = data[: len(data) & ~3]
    now, sent = NOW, 0
    while now < NOW + 2 * PATIENCE:
        for transmit in iter(machine.next_transmit, None):
            assert transmit.destination == SERVER or may_follow(SERVER, transmit.destination)
            sent += 1
            machine.receive_datagram(data, transmit.destination, transmit.source, now)
            answer = b"\1\1" + len(body).to_bytes(2, "big") + MAGIC_COOKIE + transmit.payload[8:20] + body
            machine.receive_datagram(answer, transmit.destination, transmit.source, now)
        machine.handle_timeout(now)
        following = machine.next_timeout()
        assert following is None or following > now
        now = max(now + 0.2, now if following is None else following)
        iter(machine.next_event, None)
    assert sent < MOST
