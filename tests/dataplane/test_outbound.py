from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.buffer import Batch
from p2ptun.dataplane.drop import DropReason
from p2ptun.dataplane.outbound import MAX_PLAINTEXT, Outbound, inner_mtu, plaintext_limit
from p2ptun.errors import LocalProtocolError
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.timing import REJECT_AFTER_MESSAGES
from tests.dataplane.material import batch_of, keypairs, packet, packets


def plaintexts(datagrams: Batch, receiver: Keypair) -> list[bytes]:
    return [
        receiver.receive_key.open(bytes(datagram[12:]), int.from_bytes(datagram[4:12], "big")) for datagram in datagrams
    ]


def test_sizes() -> None:
    assert plaintext_limit(1452, Algorithm.AEGIS_128L) == 1452 - 44
    assert plaintext_limit(1452, Algorithm.CHACHA20_POLY1305) == 1452 - 28
    assert inner_mtu(1452, Algorithm.CHACHA20_POLY1305) == 1422


def test_a_packet_of_the_inner_mtu_fills_a_datagram() -> None:
    for algorithm in (Algorithm.AEGIS_128L, Algorithm.CHACHA20_POLY1305):
        sender, _ = keypairs(algorithm)
        outbound, datagrams = Outbound(plaintext_limit(1452, algorithm)), Batch(1 << 16)
        fits = packet("10.0.0.1", bytes(inner_mtu(1452, algorithm) - 20))
        assert outbound.seal(batch_of(fits), sender, datagrams) == 1
        assert [len(datagram) for datagram in datagrams] == [1452]
        assert outbound.seal(batch_of(fits[:2] + b"?" + fits[3:] + b"?"), sender, datagrams) == 0
        longer = packet("10.0.0.1", bytes(inner_mtu(1452, algorithm) - 19))
        assert outbound.seal(batch_of(longer), sender, datagrams) == 0
        assert outbound.drops == {DropReason.MALFORMED: 1, DropReason.TOO_BIG: 1}


def test_a_vector() -> None:
    sender, receiver = keypairs()
    datagrams = Batch(1 << 16)
    one, two = packet("10.0.0.1", b"one"), packet("fd00::1", b"two")
    assert Outbound(1000).seal(batch_of(one, two), sender, datagrams) == 1
    [datagram] = datagrams
    assert bytes(datagram[:12]).hex() == "d400000b" + "00" * 8
    assert plaintexts(datagrams, receiver) == [b"\0" + one + b"\0" + two + b"\x01"]


@given(st.lists(packets, max_size=20), st.integers(100, 3000))
def test_it_agrees_with_a_plain_model(sent: list[bytes], limit: int) -> None:
    """Walk the packets one by one, opening a new bundle when the next doesn't fit."""
    bundles: list[bytes] = []
    for one in sent:
        if len(one) + 2 > limit:
            continue
        if not bundles or len(bundles[-1]) + len(one) + 2 > limit:
            bundles.append(b"")
        bundles[-1] += b"\0" + one
    sender, receiver = keypairs()
    outbound, datagrams = Outbound(limit), Batch(1 << 16)
    assert outbound.seal(batch_of(*sent), sender, datagrams) == len(bundles) == len(datagrams)
    assert plaintexts(datagrams, receiver) == [bundle + b"\x01" for bundle in bundles]
    assert outbound.drops[DropReason.TOO_BIG] == sum(len(one) + 2 > limit for one in sent)


@pytest.mark.parametrize("lie", [b"", b"\0", b"E", packet("10.0.0.1", b"x")[:-1], packet("fd00::1") + b"x"])
def test_what_couldnt_be_found_again_isnt_bundled(lie: bytes) -> None:
    sender, receiver = keypairs()
    outbound, datagrams = Outbound(1000), Batch(1 << 16)
    true = packet("10.0.0.1")
    outbound.seal(batch_of(true, lie, true), sender, datagrams)
    assert plaintexts(datagrams, receiver) == [(b"\0" + true) * 2 + b"\x01"]
    assert outbound.drops == {DropReason.MALFORMED: 1}


def test_without_keys_packets_are_counted() -> None:
    one = packet("10.0.0.1", bytes(400))
    outbound, datagrams = Outbound(1000), Batch(1 << 16)
    sender, _ = keypairs()
    sender.next_counter = REJECT_AFTER_MESSAGES - 1
    assert outbound.seal(batch_of(one, one, one, one), sender, datagrams) == 1
    sender.wipe()
    assert outbound.seal(batch_of(one), sender, datagrams) == 0
    assert outbound.drops == {DropReason.NO_KEY: 3}
    assert len(datagrams) == 1


def test_without_room_packets_are_counted() -> None:
    one = packet("10.0.0.1", bytes(80))
    outbound, datagrams = Outbound(1000), Batch(12 + 102 + 16)
    sender, _ = keypairs()
    assert outbound.seal(batch_of(one), sender, datagrams) == 1
    assert outbound.seal(batch_of(one, one), sender, datagrams) == 0
    assert outbound.drops == {DropReason.NO_ROOM: 2}
    assert sender.next_counter == 1


@pytest.mark.parametrize("limit", [-1, 2, MAX_PLAINTEXT + 1])
def test_impossible_limits(limit: int) -> None:
    outbound = Outbound(1000)
    with pytest.raises(LocalProtocolError, match="limit"):
        outbound.limit = limit
    outbound.limit = 500
    assert outbound.limit == 500
