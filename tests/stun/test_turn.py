"""ChannelData: vectors, round trip, truncation, random bytes, and the measure of a stream that mixes it with STUN."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.stream import StreamSplitter
from p2ptun.stun.turn import (
    FIRST_CHANNEL,
    LAST_OLD_CHANNEL,
    decode_channel_data,
    encode_channel_data,
    is_channel_data,
    measure_turn,
)

SEED = 5


@pytest.mark.parametrize(
    ("number", "data", "is_padded", "frame"),
    [
        (0x4000, b"", False, "40000000"),
        (0x4001, b"abc", False, "40010003616263"),
        (0x4001, b"abc", True, "4001000361626300"),
        (0x4001, b"abcd", True, "4001000461626364"),
        (0x4001, b"abcde", True, "400100056162636465000000"),
        (0x7FFF, b"", True, "7fff0000"),
    ],
)
def test_a_frame_is_number_length_data_padding(number: int, data: bytes, is_padded: bool, frame: str) -> None:
    assert encode_channel_data(number, data, is_padded).hex() == frame
    assert decode_channel_data(bytes.fromhex(frame)) == (number, data)


@given(st.integers(FIRST_CHANNEL, LAST_OLD_CHANNEL), st.binary(max_size=70), st.booleans())
def test_round_trip(number: int, data: bytes, is_padded: bool) -> None:
    frame = encode_channel_data(number, data, is_padded)
    assert is_channel_data(frame)
    assert decode_channel_data(frame) == (number, data)
    assert len(frame) % 4 == 0 or not is_padded


def test_truncation_at_every_length() -> None:
    frame = encode_channel_data(0x4ABC, b"eleven byte", is_padded=False)
    for length in range(len(frame)):
        with pytest.raises(MalformedPacket):
            decode_channel_data(frame[:length])


@pytest.mark.parametrize("first", [0x00, 0x3F, 0x80, 0xC0, 0xFF])
def test_other_first_bytes_are_something_else(first: int) -> None:
    data = bytes((first, 0, 0, 0))
    assert not is_channel_data(data)
    with pytest.raises(MalformedPacket):
        decode_channel_data(data)


def test_nothing_is_no_frame() -> None:
    assert not is_channel_data(b"")


def test_random_bytes_are_refused_or_read() -> None:
    draw = random.Random(SEED)
    for _ in range(2000):
        data = draw.randbytes(draw.randrange(64))
        try:
            number, payload = decode_channel_data(data)
        except MalformedPacket:
            continue
        assert is_channel_data(data), f"seed {SEED}: {data.hex()}"
        assert data.startswith(encode_channel_data(number, payload, is_padded=False)), f"seed {SEED}: {data.hex()}"


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
    assert measure_turn(b"\x4f") is None
    splitter = StreamSplitter(measure_turn)
    splitter.receive(b"\x80")
    with pytest.raises(MalformedPacket):
        splitter.next_frame()
