"""ChannelData frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.relay.channel_data import decode_channel_data, encode_channel_data, is_channel_data, measure_frame
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from p2ptun.stun.stream import StreamSplitter

STUN = encode_message(Message(Method.BINDING, MessageClass.REQUEST, TransactionId(b"t" * 12)))


def test_a_frame_is_number_length_data() -> None:
    assert encode_channel_data(0x4001, b"abcde", is_padded=False) == b"\x40\x01\x00\x05abcde"
    assert encode_channel_data(0x4001, b"abcde", is_padded=True) == b"\x40\x01\x00\x05abcde\x00\x00\x00"
    assert encode_channel_data(0x7FFF, b"", is_padded=True) == b"\x7f\xff\x00\x00"


@given(st.integers(0x4000, 0x7FFF), st.binary(max_size=50), st.booleans())
def test_what_is_framed_comes_back(number: int, data: bytes, is_padded: bool) -> None:
    assert decode_channel_data(encode_channel_data(number, data, is_padded)) == (number, data)


@pytest.mark.parametrize("length", range(9))
def test_a_cut_frame_is_refused(length: int) -> None:
    with pytest.raises(MalformedPacket):
        decode_channel_data(encode_channel_data(0x4001, b"abcde", is_padded=False)[:length])


@given(st.binary(max_size=50))
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        number, payload = decode_channel_data(data)
    except MalformedPacket:
        return
    assert is_channel_data(data)
    assert data.startswith(encode_channel_data(number, payload, is_padded=False))


@pytest.mark.parametrize("first", [0x3F, 0x80, 0xC0, 0xFF])
def test_other_first_bytes_are_something_else(first: int) -> None:
    assert not is_channel_data(bytes((first, 0, 0, 0)))
    with pytest.raises(MalformedPacket):
        decode_channel_data(bytes((first, 0, 0, 0)))


def test_nothing_is_no_frame() -> None:
    assert not is_channel_data(b"")


def test_a_stream_is_cut_into_frames() -> None:
    frames = [encode_channel_data(0x4001, b"abcde", True), STUN, encode_channel_data(0x4002, b"", True)]
    splitter = StreamSplitter(measure_frame)
    found = []
    for byte in b"".join(frames):
        splitter.receive(bytes((byte,)))
        while (frame := splitter.next_frame()) is not None:
            found.append(frame)
    assert found == frames


def test_a_stream_of_something_else_is_refused() -> None:
    with pytest.raises(MalformedPacket):
        measure_frame(b"\x80\x00\x00\x00")
