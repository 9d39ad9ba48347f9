from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.rendezvous.base import MAX_MESSAGE_SIZE
from p2ptun.signal.envelope import MAX_ENVELOPE_SIZE, MAX_FRAMES, Frame, FrameKind, decode_envelope, encode_envelope

frames = st.lists(
    st.builds(Frame, st.sampled_from(FrameKind), st.binary(max_size=300)), min_size=1, max_size=MAX_FRAMES
)


@given(frames)
def test_round_trip(sent: list[Frame]) -> None:
    assert decode_envelope(encode_envelope(sent)) == sent


def test_the_layout() -> None:
    sent = [Frame(FrameKind.CONFIRMATION, b"abc"), Frame(FrameKind.LETTER, b"")]
    assert encode_envelope(sent) == b"\x02\x00\x03abc\x03\x00\x00"


def test_truncation_at_every_length() -> None:
    sent = [Frame(FrameKind.OPENING, b"opening"), Frame(FrameKind.CONFIRMATION, b"x"), Frame(FrameKind.LETTER, b"yz")]
    message = encode_envelope(sent)
    whole = {10, 14}  # where one frame ends and the next begins
    for size in range(len(message)):
        if size in whole:
            assert decode_envelope(message[:size]) == sent[: 1 + (size == 14)]
        else:
            with pytest.raises(MalformedPacket):
                decode_envelope(message[:size])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    try:
        read = decode_envelope(message)
    except MalformedPacket:
        return
    assert len(encode_envelope(read)) <= len(message)


def test_kinds_of_later_versions_are_skipped() -> None:
    assert decode_envelope(b"\x00\x00\x01x\x02\x00\x01y\xff\x00\x00") == [Frame(FrameKind.CONFIRMATION, b"y")]
    assert decode_envelope(b"\x7f\x00\x01x") == []


def test_too_many_frames() -> None:
    frame = Frame(FrameKind.LETTER, b"")
    assert len(decode_envelope(encode_envelope([frame] * MAX_FRAMES))) == MAX_FRAMES
    with pytest.raises(MalformedPacket):
        decode_envelope(encode_envelope([frame] * (MAX_FRAMES + 1)))


def test_a_message_fits_every_rendezvous() -> None:
    assert MAX_ENVELOPE_SIZE == MAX_MESSAGE_SIZE
    full = Frame(FrameKind.LETTER, bytes(MAX_ENVELOPE_SIZE - 3))
    assert decode_envelope(encode_envelope([full])) == [full]
    with pytest.raises(LocalProtocolError):
        encode_envelope([full, Frame(FrameKind.LETTER, b"")])
    with pytest.raises(MalformedPacket):
        decode_envelope(bytes(MAX_ENVELOPE_SIZE + 1))
