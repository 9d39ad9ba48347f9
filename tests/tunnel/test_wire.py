from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.wire import (
    COOKIE_REPLY_SIZE,
    INITIATION_OVERHEAD,
    MAX_HELLO,
    RESPONSE_OVERHEAD,
    CookieReply,
    MessageType,
    decode_cookie_reply,
    decode_initiation,
    decode_response,
    encode_body,
    encode_cookie_reply,
    header_word,
    peek_index,
)

INDEX = SessionIndex(0xABCDEF)
INITIATION = encode_body(MessageType.INITIATION, INDEX, bytes(range(100))) + b"1" * 16 + b"2" * 16
RESPONSE = encode_body(MessageType.RESPONSE, INDEX, bytes(range(60))) + b"1" * 16
REPLY = encode_cookie_reply(CookieReply(INDEX, b"n" * 24, b"s" * 32))

Decoder = Callable[[bytes], object]
DECODERS: list[tuple[Decoder, bytes]] = [
    (decode_initiation, INITIATION),
    (decode_response, RESPONSE),
    (decode_cookie_reply, REPLY),
]


def test_vectors() -> None:
    assert INITIATION[:6] == bytes.fromhex("d1abcdef0001")
    assert RESPONSE[:4] == bytes.fromhex("d2abcdef")
    assert bytes.fromhex("d3abcdef") + b"n" * 24 + b"s" * 32 == REPLY
    assert header_word(MessageType.DATA, 0x010203) == 0xD4010203
    assert peek_index(b"?" + INITIATION, 1) == INDEX


def test_initiation() -> None:
    decoded = decode_initiation(INITIATION)
    assert decoded.sender == INDEX
    assert decoded.noise == bytes(range(100))
    assert decoded.ephemeral == bytes(range(32))
    assert decoded.body + decoded.mac1 + decoded.mac2 == INITIATION
    assert (decoded.mac1, decoded.mac2) == (b"1" * 16, b"2" * 16)


def test_response() -> None:
    decoded = decode_response(RESPONSE)
    assert decoded.receiver == INDEX
    assert decoded.noise == bytes(range(60))
    assert decoded.body + decoded.mac1 == RESPONSE


def test_cookie_reply() -> None:
    assert decode_cookie_reply(REPLY) == CookieReply(INDEX, b"n" * 24, b"s" * 32)
    assert len(REPLY) == COOKIE_REPLY_SIZE


def test_answers_are_smaller_than_what_they_answer() -> None:
    assert COOKIE_REPLY_SIZE < INITIATION_OVERHEAD
    assert RESPONSE_OVERHEAD < INITIATION_OVERHEAD


@pytest.mark.parametrize(("decode", "datagram"), DECODERS)
def test_impossible_lengths(decode: Decoder, datagram: bytes) -> None:
    least = {0xD1: INITIATION_OVERHEAD, 0xD2: RESPONSE_OVERHEAD, 0xD3: COOKIE_REPLY_SIZE}[datagram[0]]
    most = least if datagram[0] == 0xD3 else least + MAX_HELLO
    for size in [*range(least), most + 1, 65535]:
        with pytest.raises(MalformedPacket, match="bytes"):
            decode(datagram[:1] + bytes(size - 1) if size else b"")
    decode(datagram[:1] + bytes(least - 1))
    decode(datagram[:1] + bytes(most - 1))


@pytest.mark.parametrize(("decode", "datagram"), DECODERS)
def test_another_type(decode: Decoder, datagram: bytes) -> None:
    with pytest.raises(MalformedPacket, match="type 0xd4"):
        decode(b"\xd4" + datagram[1:])


@given(st.sampled_from(DECODERS), st.binary(max_size=500))
def test_random_bytes(decoder: tuple[Decoder, bytes], data: bytes) -> None:
    decode, datagram = decoder
    for attempt in (data, datagram[:1] + data):
        try:
            decode(attempt)
        except MalformedPacket:
            continue
