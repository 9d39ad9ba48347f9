"""ChannelData: vectors, round trip, truncation, random bytes, and the measure of a stream that mixes it with STUN."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.stream import StreamSplitter
from p2ptun.turn.framing import (
    FIRST_CHANNEL,
    LAST_CHANNEL,
    decode_channel_data,
    encode_channel_data,
    is_channel_data,
    measure_turn,
)

SEED = 5


@pytest.mark.parametrize(
    ("payload", "is_padded", "frame"),
    [
        (b"", False, "40000000"),
        (b"abc", False, "40000003616263"),
        (b"abc", True, "4000000361626300"),
        (b"abcd", True, "4000000461626364"),
        (b"abcde", True, "400000056162636465000000"),
    ],
)
def test_vectors_of_rfc8656_12_4(payload: bytes, is_padded: bool, frame: str) -> None:
    assert encode_channel_data(0x4000, payload, is_padded).hex() == frame
    assert decode_channel_data(bytes.fromhex(frame)) == (0x4000, payload)


@given(st.integers(FIRST_CHANNEL, LAST_CHANNEL), st.binary(max_size=70), st.booleans())
def test_round_trip(number: int, payload: bytes, is_padded: bool) -> None:
    frame = encode_channel_data(number, payload, is_padded)
    assert is_channel_data(frame)
    assert decode_channel_data(frame) == (number, payload)
    assert len(frame) % 4 == 0 or not is_padded


def test_truncation_at_every_length() -> None:
    frame = encode_channel_data(0x4ABC, b"eleven byte", is_padded=False)
    for length in range(len(frame)):
        with pytest.raises(MalformedPacket):
            decode_channel_data(frame[:length])


def test_what_is_no_channel_data() -> None:
    for data in (b"", b"\x3f\xff\0\0", b"\x50\0\0\0", b"\x00\x01\0\0"):
        assert not is_channel_data(data)
        with pytest.raises(MalformedPacket):
            decode_channel_data(data)


def test_random_bytes_raise_only_malformed_packet() -> None:
    draw = random.Random(SEED)
    for _ in range(2000):
        data = draw.randbytes(draw.randrange(64))
        try:
            number, payload = decode_channel_data(data)
        except MalformedPacket:
            continue
        assert FIRST_CHANNEL <= number <= LAST_CHANNEL, f"seed {SEED}: {data.hex()}"
        assert payload in data


def test_a_stream_of_both_is_cut_where_frames_end() -> None:
    stun = encode_message(Message(Method.REFRESH, MessageClass.SUCCESS, TransactionId(bytes(12))))
    frames = [encode_channel_data(0x4001, b"x" * size, is_padded=True) for size in range(6)]
    mixed = [frames[0], stun, *frames[1:], stun]
    splitter = StreamSplitter(measure_turn)
    got = []
    for byte in b"".join(mixed):
        splitter.receive(bytes([byte]))
        while (frame := splitter.next_frame()) is not None:
            got.append(frame)
    assert got == mixed


def test_a_stream_of_something_else_is_refused() -> None:
    splitter = StreamSplitter(measure_turn)
    splitter.receive(b"HTTP/1.1 400 Bad Request")
    assert measure_turn(b"\x4f") is None
    splitter = StreamSplitter(measure_turn)
    splitter.receive(b"\x80")
    with pytest.raises(MalformedPacket):
        splitter.next_frame()
