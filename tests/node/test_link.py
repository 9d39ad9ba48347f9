"""A link apart from any path: its queue is bounded, what it drops is counted, its secrets stay inside."""

from __future__ import annotations

import random

import pytest

from p2ptun.aead.algorithm import Algorithm, available_algorithms
from p2ptun.dataplane.allowed import AllowedIPs
from p2ptun.errors import AuthenticationFailed, LocalProtocolError
from p2ptun.node.link import WAITING_SIZE, Identity, Link
from p2ptun.noise.keypair import KeyPair
from p2ptun.tunnel.control import CloseReason
from p2ptun.tunnel.index import IndexTable
from tests.node.world import World, ping
from tests.sim.network import START
from tests.sim.node import batch_of

draw = random.Random(1).randbytes
KEYS, THEIRS = KeyPair.generate(draw), KeyPair.generate(draw)


def make_link(public: bytes = THEIRS.public, mtu: int = 1400) -> Link:
    indices: IndexTable[Link] = IndexTable(draw)
    return Link("peer", Identity(public, ()), KEYS, mtu, AllowedIPs(), indices, draw)


def test_an_identity_offers_what_the_machine_is_good_at_and_hides_its_psk() -> None:
    identity = Identity(THEIRS.public, (), psk=b"s" * 32)
    assert identity.algorithms == available_algorithms()
    assert "ssss" not in repr(identity)


def test_our_own_key_and_no_key_are_refused() -> None:
    with pytest.raises(LocalProtocolError):
        make_link(KEYS.public)
    with pytest.raises(AuthenticationFailed):
        make_link(bytes(32))


def test_the_queue_is_bounded_and_keeps_the_oldest() -> None:
    link = make_link()
    assert not link.has_waiting
    packets = [ping(number, 1000) for number in range(100)]
    for packet in packets:
        link.hold(batch_of([packet]))
    fitting = WAITING_SIZE // len(packets[0])
    assert link.overflow == 100 - fitting
    assert link.drops == {"peer: queue full": 100 - fitting}
    assert link.has_waiting


def test_nothing_is_sealed_without_keys() -> None:
    link = make_link()
    assert link.seal_waiting(START) is None
    link.hold(batch_of([ping(1)]))
    assert link.seal_waiting(START) is None
    assert link.seal(batch_of([ping(1)]), START) is None
    assert link.has_waiting
    assert link.drops == {}
    assert link.traffic.tx_packets == 0


def test_what_waited_leaves_a_flight_alone_that_is_still_on_its_way_out() -> None:
    link = World().connect().settle().to_bob.link
    assert link is not None
    flight = link.seal(batch_of([ping(1)]), START)
    assert flight is not None
    before = [bytes(datagram) for datagram in flight]
    link.hold(batch_of([ping(2), ping(3)]))
    waited = link.seal_waiting(START)
    assert waited is not None
    assert len(waited) == 1
    assert not link.has_waiting
    assert [bytes(datagram) for datagram in flight] == before
    assert link.traffic.tx_packets == 3


def test_traffic_is_counted_in_packets_and_bytes() -> None:
    world = World().connect().settle()
    world.alice.send(ping(1, 100), ping(2, 200))
    world.network.run(1)
    ours, theirs = world.to_bob.link, world.to_alice.link
    assert ours is not None
    assert theirs is not None
    assert (ours.traffic.tx_packets, ours.traffic.tx_bytes) == (2, 340)
    assert (theirs.traffic.rx_packets, theirs.traffic.rx_bytes) == (2, 340)
    assert (ours.traffic.rx_packets, theirs.traffic.tx_packets) == (0, 0)


def test_a_full_batch_of_large_packets_goes_out_whole() -> None:
    size = 9000
    link = make_link(mtu=size)
    world = World().connect()
    real = world.to_bob.link
    assert real is not None
    link.session = real.session
    packets = [ping(number, size - 20) for number in range((1 << 18) // size)]
    sealed = link.seal(batch_of(packets), world.network.now)
    assert sealed is not None
    assert len(sealed) == len(packets)
    assert link.drops == real.session.refusals


def test_too_large_a_packet_is_counted() -> None:
    world = World().connect()
    world.alice.send(ping(1, 1381))
    assert world.to_bob.drops == {"data: packet larger than the path carries": 1}


def test_a_closed_link_seals_nothing() -> None:
    world = World().connect()
    link = world.to_bob.link
    assert link is not None
    assert link.session.algorithm is Algorithm.CHACHA20_POLY1305
    link.close(CloseReason.RESTART, world.network.now)
    assert link.seal(batch_of([ping(1)]), world.network.now) is None
