"""The plaintext of an authenticated peer: whole IP packets from that peer's addresses come out, or nothing."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from p2ptun.aead.buffer import Batch
from p2ptun.dataplane.allowed import AllowedIPs
from p2ptun.dataplane.inbound import Inbound
from p2ptun.dataplane.outbound import Outbound
from p2ptun.dataplane.packet import packet_length, source_of
from p2ptun.tunnel.wire import DATA_HEADER
from tests.dataplane.material import batch_of, keypairs

NETWORKS = tuple(ip_network(text) for text in ("0.0.0.0/1", "2000::/3"))


def test_one_input(data: bytes) -> None:
    _as_plaintext(data)
    _as_packet_of_the_kernel(data)


def _as_plaintext(data: bytes) -> None:
    sender, receiver = keypairs()
    allowed: AllowedIPs[str] = AllowedIPs()
    for network in NETWORKS:
        allowed.insert(network, "peer")
    inbound, packets = Inbound(allowed, "peer"), Batch(len(data) + 64)
    controls: list[bytes] = []
    counter = sender.take_counter()
    datagram = DATA_HEADER.pack(sender.header, counter) + sender.send_key.seal(data, counter)
    datagrams = batch_of(datagram, size=len(datagram))
    assert inbound.open(datagrams, datagrams.spans[0], receiver, packets, controls)
    assert not inbound.open(datagrams, datagrams.spans[0], receiver, packets, controls)
    assert len(controls) <= 1
    for start, end in packets.spans:
        assert packet_length(packets.buffer.raw, start, end) == end - start
        source = ip_address(source_of(packets.buffer.raw, start))
        assert any(source in network for network in NETWORKS)
        assert not any((source.is_loopback, source.is_multicast, source.is_unspecified))


def _as_packet_of_the_kernel(data: bytes) -> None:
    sender, _ = keypairs()
    outbound, datagrams = Outbound(1400), Batch(1 << 16)
    sealed = outbound.seal(batch_of(data, size=len(data)), sender, datagrams)
    assert sealed + outbound.drops.total() == 1
