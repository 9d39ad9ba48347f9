from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.buffer import Batch
from p2ptun.dataplane.allowed import AllowedIPs
from p2ptun.dataplane.drop import DropReason
from p2ptun.dataplane.inbound import Inbound
from p2ptun.dataplane.outbound import Outbound
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.timing import REJECT_AFTER_MESSAGES
from p2ptun.tunnel.wire import FrameKind
from tests.dataplane.material import OURS, batch_of, keypairs, mixed_packets, packet

ONE = packet("10.77.0.1", b"one")
SIX = packet("fd00::1", b"six")
FOREIGN = packet("10.78.0.1")


class Peer:
    """Opens what `sender` seals."""

    def __init__(self, algorithm: Algorithm = Algorithm.CHACHA20_POLY1305, room: int = 1 << 17) -> None:
        self.sender, self.keypair = keypairs(algorithm)
        allowed: AllowedIPs[str] = AllowedIPs()
        for network in ("10.77.0.0/16", "fd00::/64"):
            allowed.insert(ip_network(network), "peer")
        allowed.insert(ip_network("10.78.0.0/16"), "somebody else")
        self.inbound = Inbound(allowed, "peer")
        self.packets = Batch(room)
        self.controls: list[bytes] = []

    @property
    def drops(self) -> Counter[DropReason]:
        return self.inbound.drops

    def open(self, *datagrams: bytes) -> list[bool]:
        batch = batch_of(*datagrams)
        return [self.inbound.open(batch, span, self.keypair, self.packets, self.controls) for span in batch.spans]

    def take(self) -> list[bytes]:
        taken = [bytes(one) for one in self.packets]
        self.packets.clear()
        return taken

    def sealed(self, plaintext: bytes, kind: int = FrameKind.BUNDLE) -> bytes:
        return seal(self.sender, plaintext + bytes([kind]))


def seal(sender: Keypair, plaintext: bytes, counter: int | None = None) -> bytes:
    counter = sender.take_counter() if counter is None else counter
    return sender.header.to_bytes(4, "big") + counter.to_bytes(8, "big") + sender.send_key.seal(plaintext, counter)


def test_a_bundle() -> None:
    peer = Peer()
    assert peer.open(peer.sealed(b"\0" + ONE + b"\0" + SIX)) == [True]
    assert peer.take() == [ONE, SIX]
    assert peer.keypair.has_unanswered_data
    assert not peer.drops


def test_control() -> None:
    peer = Peer()
    assert peer.open(peer.sealed(b"\x91\x00", FrameKind.CONTROL), peer.sealed(b"", FrameKind.CONTROL)) == [True, True]
    assert peer.controls == [b"\x91\x00", b""]
    assert peer.take() == []
    assert not peer.keypair.has_unanswered_data


@pytest.mark.parametrize("algorithm", [Algorithm.AEGIS_128L, Algorithm.AEGIS_256, Algorithm.CHACHA20_POLY1305])
@given(sent=st.lists(mixed_packets, max_size=30), limit=st.integers(700, 3000))
def test_all_that_is_sent_and_allowed_arrives(algorithm: Algorithm, sent: list[bytes], limit: int) -> None:
    peer = Peer(algorithm)
    outbound, datagrams = Outbound(limit), Batch(1 << 17)
    outbound.seal(batch_of(*sent), peer.sender, datagrams)
    assert all(peer.open(*(bytes(datagram) for datagram in datagrams)))
    expected = [one for one in sent if is_ours(one)]
    assert peer.take() == expected
    assert peer.drops == Counter({DropReason.FOREIGN_SOURCE: len(sent) - len(expected)} if expected != sent else {})


def is_ours(one: bytes) -> bool:
    headers = [packet(source) for source in OURS]
    at = slice(12, 16) if one[0] >> 4 == 4 else slice(8, 24)
    return any(one[at] == header[at] and one[0] == header[0] for header in headers)


def test_replays() -> None:
    peer = Peer()
    datagram = peer.sealed(b"\0" + ONE)
    assert peer.open(datagram, datagram) == [True, False]
    assert peer.take() == [ONE]
    assert peer.drops == {DropReason.REPLAYED: 1}


def test_forgeries_dont_move_the_window() -> None:
    peer = Peer()
    first = peer.sealed(b"\0" + ONE)
    forged = first[:4] + (1 << 40).to_bytes(8, "big") + first[12:]
    flipped = [first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :] for at in range(4, len(first))]
    assert peer.open(forged, *flipped, first) == [False] * (len(flipped) + 1) + [True]
    assert peer.drops == {DropReason.UNAUTHENTIC: len(flipped) + 1}


def test_truncation() -> None:
    peer = Peer()
    datagram = peer.sealed(b"\0" + ONE)
    assert peer.open(*(datagram[:size] for size in range(len(datagram)))) == [False] * len(datagram)
    assert peer.drops == {DropReason.TRUNCATED: 12, DropReason.UNAUTHENTIC: len(datagram) - 12}
    assert peer.open(datagram) == [True]


def test_the_last_counter() -> None:
    peer = Peer()
    last, beyond = (
        seal(peer.sender, b"\x91\x00\x03", counter) for counter in (REJECT_AFTER_MESSAGES - 1, REJECT_AFTER_MESSAGES)
    )
    assert peer.open(beyond, last) == [False, True]
    assert peer.drops == {DropReason.COUNTER: 1}


def test_wiped_keys_open_nothing() -> None:
    peer = Peer()
    datagram = peer.sealed(b"\0" + ONE)
    peer.keypair.wipe()
    assert peer.open(datagram) == [False]
    assert peer.drops == {DropReason.NO_KEY: 1}


def test_without_room_a_datagram_may_come_again() -> None:
    peer = Peer(room=90)
    datagram = peer.sealed(b"\0" + ONE + b"\0" + SIX)
    peer.packets.append(bytes(10))
    assert peer.open(datagram) == [False]
    peer.packets.clear()
    assert len(datagram) - 12 <= 90
    assert peer.open(datagram) == [True]
    assert peer.drops == {DropReason.NO_ROOM: 1}


@pytest.mark.parametrize(
    ("plaintext", "arrives", "reason"),
    [
        (b"", [], DropReason.EMPTY),
        (b"\x01", [], DropReason.EMPTY),
        (b"anything\x02", [], DropReason.UNNEGOTIATED),
        (b"anything\x04", [], DropReason.UNKNOWN_FRAME),
        (b"anything\x00", [], DropReason.UNKNOWN_FRAME),
        (b"\x00\x01", [], DropReason.MALFORMED),
        (b"\x00" + ONE + b"\x00\x01", [ONE], DropReason.MALFORMED),
        (b"\x00" + ONE + b"\x00\x45\x01", [ONE], DropReason.MALFORMED),
        (b"\x00" + ONE + b"\x00" + SIX[:-1] + b"\x01", [ONE], DropReason.MALFORMED),
        (b"\x00" + b"\x55" + ONE[1:] + b"\x00" + SIX + b"\x01", [], DropReason.MALFORMED),
        (b"\x01" + ONE + b"\x00" + SIX + b"\x01", [SIX], DropReason.UNNEGOTIATED),
        (b"\x00" + FOREIGN + b"\x00" + SIX + b"\x01", [SIX], DropReason.FOREIGN_SOURCE),
        (b"\x00" + packet("10.79.0.1") + b"\x01", [], DropReason.FOREIGN_SOURCE),
    ],
)
def test_authenticated_is_not_trusted(plaintext: bytes, arrives: list[bytes], reason: DropReason) -> None:
    peer = Peer()
    assert peer.open(seal(peer.sender, plaintext)) == [True]
    assert peer.take() == arrives
    assert peer.drops == {reason: 1}


@given(st.lists(st.binary(max_size=120), max_size=8))
def test_an_authentic_peer_may_send_anything(plaintexts: list[bytes]) -> None:
    peer = Peer()
    datagrams = [seal(peer.sender, plaintext) for plaintext in plaintexts]
    assert peer.open(*datagrams) == [True] * len(datagrams)
    for one in peer.take():
        assert is_ours(one) or one[0] >> 4 in (4, 6)


@given(st.lists(st.binary(max_size=120), max_size=8))
def test_strangers_may_send_anything(datagrams: list[bytes]) -> None:
    peer = Peer()
    assert peer.open(*datagrams) == [False] * len(datagrams)
    assert peer.drops.total() == len(datagrams)
    assert peer.take() == []
