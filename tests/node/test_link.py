"""A link apart from any path: its queue is bounded, what it drops is counted, its secrets stay inside."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter

import pytest

from p2ptun.aead.algorithm import Algorithm, available_algorithms
from p2ptun.dataplane.allowed import AllowedIPs
from p2ptun.dataplane.outbound import FRAMING
from p2ptun.errors import AuthenticationFailed, LocalProtocolError
from p2ptun.node.link import OVERHEAD, WAITING_SIZE, Identity, Link, Workspace
from p2ptun.noise.keypair import KeyPair
from p2ptun.tunnel.control import CloseReason
from p2ptun.tunnel.index import IndexTable
from p2ptun.tunnel.session import Session
from p2ptun.tunnel.wire import DATA_HEADER_SIZE
from tests.node.world import World, ping
from tests.sim.network import START
from tests.sim.node import batch_of

draw = random.Random(1).randbytes
KEYS, THEIRS = KeyPair.generate(draw), KeyPair.generate(draw)


def make_link(public: bytes = THEIRS.public, mtu: int = 1400) -> Link:
    indices: IndexTable[Link] = IndexTable(draw)
    return Link("peer", Identity(public, ()), KEYS, mtu, AllowedIPs(), indices, draw, Workspace())


def established() -> Session:
    """Return a session that has keys."""
    link = World().connect().to_bob.link
    assert link is not None
    return link.session


def lost_data(drops: Counter[str]) -> dict[str, int]:
    """Pick what became of packets. The session drops one of two handshakes that begin at once."""
    return {reason: count for reason, count in drops.items() if not reason.startswith("tunnel:")}


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
    packets = [ping(number, 1000) for number in range(100)]
    for packet in packets:
        link.hold(batch_of([packet]))
    fitting = WAITING_SIZE // len(packets[0])
    assert link.overflow == 100 - fitting
    assert link.drops == {"peer: queue full": 100 - fitting}
    assert link.has_waiting
    link.hold(batch_of([ping(0, WAITING_SIZE - fitting * len(packets[0]) - 20)]))
    assert link.overflow == 100 - fitting
    link.session = established()
    sealed = link.seal_waiting(START)
    assert sealed is not None
    assert link.traffic.tx_packets == fitting + 1
    assert link.traffic.tx_bytes == WAITING_SIZE
    link.hold(batch_of(packets[:fitting]))
    assert link.overflow == 100 - fitting


@pytest.mark.parametrize("size", [28, 1400])
def test_what_waited_fits_whatever_its_size_and_leaves_nothing_behind(size: int) -> None:
    link = make_link()
    link.session = established()
    for number in range(WAITING_SIZE // size):
        link.hold(batch_of([ping(number, size - 20)]))
    sealed = link.seal_waiting(START)
    assert sealed is not None
    assert sum(end - start for start, end in sealed.spans) > WAITING_SIZE - size
    assert lost_data(link.drops) == {}
    assert not link.has_waiting
    assert link.seal_waiting(START) is None


def test_flights_stand_one_behind_the_other_in_one_workspace() -> None:
    """Several peers of one burst: what the first one's flight holds stays when the second one seals."""
    workspace = Workspace()
    indices: IndexTable[Link] = IndexTable(draw)
    links = [
        Link(name, Identity(THEIRS.public, ()), KEYS, 1400, AllowedIPs(), indices, draw, workspace) for name in "ab"
    ]
    flights = []
    for link in links:
        link.session = established()
        flights.append(link.seal(batch_of([ping(1), ping(2)]), START))
    before = [[bytes(datagram) for datagram in flight] for flight in flights if flight is not None]
    third = links[0].seal(batch_of([ping(3, 1300)]), START)
    assert [[bytes(datagram) for datagram in flight] for flight in flights if flight is not None] == before
    assert third is not None
    assert [len(each) for each in before] == [1, 1]
    assert len(third) == 1
    assert len(workspace.flights) == 3


def test_a_link_has_no_buffers_of_its_own() -> None:
    """A thousand of them would be hundreds of megabytes."""
    workspace, indices = Workspace(), IndexTable[Link](draw)
    tracemalloc.start()
    try:
        links = [
            Link(str(number), Identity(THEIRS.public, ()), KEYS, 1400, AllowedIPs(), indices, draw, workspace)
            for number in range(20)
        ]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(links) < 20_000


def test_a_packet_with_a_datagram_to_itself_needs_no_more_than_the_overhead() -> None:
    for algorithm in Algorithm:
        assert FRAMING + DATA_HEADER_SIZE + algorithm.tag_size <= OVERHEAD


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
    assert lost_data(link.drops) == {}


def test_too_large_a_packet_is_counted() -> None:
    world = World().connect()
    world.alice.send(ping(1, 1381))
    assert lost_data(world.to_bob.drops) == {"data: packet larger than the path carries": 1}


def test_a_closed_link_seals_nothing() -> None:
    world = World().connect()
    link = world.to_bob.link
    assert link is not None
    assert link.session.algorithm is Algorithm.CHACHA20_POLY1305
    link.close(CloseReason.RESTART, world.network.now)
    assert link.seal(batch_of([ping(1)]), world.network.now) is None
