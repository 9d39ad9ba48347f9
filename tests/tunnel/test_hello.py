from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.aead.algorithm import Algorithm
from p2ptun.errors import MalformedPacket
from p2ptun.tunnel.hello import (
    Choice,
    Offer,
    choose,
    decode_choice,
    decode_offer,
    encode_hello,
    make_offer,
)
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.wire import MAX_HELLO

ALL = tuple(Algorithm)
CHACHA = Algorithm.CHACHA20_POLY1305


def test_round_trip() -> None:
    offer = make_offer(SessionIndex(0xFFFFFF), ALL, bytes(16))
    assert decode_offer(encode_hello(offer)) == offer
    choice = Choice(7, 0, "aegis-128l")
    assert decode_choice(encode_hello(choice)) == choice


def test_the_largest_hello_fits_and_the_choice_is_smaller() -> None:
    offer = encode_hello(make_offer(SessionIndex(0xFFFFFF), ALL, bytes(16)))
    choice = encode_hello(Choice(0xFFFFFF, 0, max((one.value for one in ALL), key=len)))
    assert len(choice) < len(offer) <= 78 <= MAX_HELLO


def test_vector() -> None:
    assert encode_hello(Offer(1, 0, ("aegis-128l",), b"")) == b"\x94\x01\x00\x91\xaaaegis-128l\xc4\x00"


@pytest.mark.parametrize(
    ("offered", "accepted", "picked"),
    [
        (ALL, ALL, Algorithm.AEGIS_128L),
        (ALL, (CHACHA,), CHACHA),
        ((CHACHA,), ALL, CHACHA),
        ((CHACHA, Algorithm.AEGIS_256), ALL, CHACHA),
        ((Algorithm.AEGIS_256,), (CHACHA,), None),
    ],
)
def test_the_initiator_prefers(
    offered: tuple[Algorithm, ...], accepted: tuple[Algorithm, ...], picked: Algorithm | None
) -> None:
    assert choose(make_offer(SessionIndex(1), offered, b""), accepted) is picked


def test_unknown_algorithms_and_later_elements_are_ignored() -> None:
    payload = msgspec.msgpack.encode([1, 0, ["rot13", "aegis-256"], b"", "later"])
    assert choose(decode_offer(payload), ALL) is Algorithm.AEGIS_256


@pytest.mark.parametrize(
    "content",
    [
        [],
        [1],
        [1 << 24, 0, []],
        [-1, 0, []],
        [1, 1 << 32, []],
        [1, 0, ["a"] * 9],
        [1, 0, ["a" * 25]],
        [1, 0, [], bytes(17)],
        [1, 0, 5],
    ],
)
def test_bounds(content: object) -> None:
    with pytest.raises(MalformedPacket, match="offer"):
        decode_offer(msgspec.msgpack.encode(content))
    with pytest.raises(MalformedPacket, match="choice"):
        decode_choice(msgspec.msgpack.encode(content))


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    for decode in (decode_offer, decode_choice):
        try:
            decode(data)
        except MalformedPacket:
            continue


def test_truncation() -> None:
    encoded = encode_hello(make_offer(SessionIndex(5), ALL, bytes(16)))
    for size in range(len(encoded)):
        with pytest.raises(MalformedPacket):
            decode_offer(encoded[:size])
