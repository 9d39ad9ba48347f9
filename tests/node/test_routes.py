"""The inner destination picks the peer; what belongs to nobody is counted."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from p2ptun.node.drop import DropReason
from p2ptun.node.routes import Routes
from tests.sim.node import batch_of, ip_packet

TABLE = {"10.0.0.0/8": "wide", "10.1.0.0/16": "narrow", "10.1.1.1/32": "host", "fd00::/8": "wide", "fd01::/64": "host"}
OWNERS = {
    "10.2.3.4": "wide",
    "10.1.2.3": "narrow",
    "10.1.1.1": "host",
    "192.0.2.1": None,
    "fd02::1": "wide",
    "fd01::1": "host",
    "2001:db8::1": None,
    "::ffff:10.1.1.1": "host",
}


def routes() -> Routes:
    made = Routes()
    for network, name in TABLE.items():
        made.table.insert(ip_network(network), name)
    return made


def packet_to(destination: str, payload: bytes) -> bytes:
    return ip_packet("fd99::1" if ":" in destination else "10.99.0.1", destination, payload)


@given(st.lists(st.tuples(st.sampled_from(sorted(OWNERS)), st.binary(max_size=40)), max_size=30))
def test_each_peer_gets_its_packets_in_order_and_nobody_elses(sent: list[tuple[str, bytes]]) -> None:
    drops: Counter[DropReason] = Counter()
    shares = routes().split(batch_of(packet_to(*each) for each in sent), drops)
    names = [name for name, _ in shares]
    assert len(names) == len(set(names))
    for name, share in shares:
        assert [bytes(each) for each in share] == [packet_to(*each) for each in sent if OWNERS[each[0]] == name]
    homeless = sum(OWNERS[destination] is None for destination, _ in sent)
    assert drops == (Counter({DropReason.NO_PEER: homeless}) if homeless else Counter())
    assert sum(len(share) for _, share in shares) + homeless == len(sent)


def test_what_is_no_packet_is_counted() -> None:
    drops: Counter[DropReason] = Counter()
    whole = packet_to("10.1.1.1", b"x")
    assert routes().split(batch_of([b"", b"x", b"\x45", whole[:-1], b"\x60" + bytes(10), bytes(40)]), drops) == []
    assert drops == {DropReason.NO_PACKET: 6}
