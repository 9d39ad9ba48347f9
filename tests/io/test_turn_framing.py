"""STUN and ChannelData in one stream, wherever it is cut, and what is neither."""

from __future__ import annotations

import random

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.io.turn_framing import LARGEST_TURN_FRAME, split_turn_frames
from tests.stun.vectors import REQUEST, RESPONSE_IPV6


def channel_data(payload: bytes, number: int = 0x4000) -> bytes:
    return number.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


def padded(frame: bytes) -> bytes:
    return frame + bytes(-len(frame) % 4)


def frames_in(stream: bytes) -> tuple[list[bytes], bytes]:
    view = memoryview(b"....." + stream)
    spans, rest = split_turn_frames(view, 5, len(view))
    return [bytes(view[start:end]) for start, end in spans], bytes(view[rest:])


MIXED = [
    REQUEST,
    channel_data(b"abc"),
    channel_data(b""),
    channel_data(b"abcd", 0x4FFF),
    RESPONSE_IPV6,
    channel_data(b"x" * 65535),
    bytes.fromhex("0001fffc2112a442") + bytes(12 + 0xFFFC),
    channel_data(b"y"),
]


def test_frames_are_found_wherever_the_stream_is_cut() -> None:
    stream = b"".join(map(padded, MIXED))
    assert frames_in(stream) == (MIXED, b"")
    ends = [0]
    for frame in MIXED:
        ends += [ends[-1] + len(padded(frame))]
    cuts = {max(0, min(len(stream), end + near)) for end in ends for near in range(-9, 25)}
    for cut in cuts:
        found, rest = frames_in(stream[:cut])
        assert b"".join(map(padded, found)) + rest == stream[:cut]
        assert found + frames_in(rest + stream[cut:])[0] == MIXED
        assert len(rest) < LARGEST_TURN_FRAME


def test_what_is_neither_is_told_by_its_first_byte() -> None:
    for first in (*range(0x50, 0x100, 7), 0xFF):
        with pytest.raises(MalformedPacket):
            frames_in(padded(channel_data(b"abc")) + bytes([first]))


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", bytes(20), bytes.fromhex("000100022112a442")])
def test_garbage_ends_it(garbage: bytes) -> None:
    with pytest.raises(MalformedPacket, match="stream"):
        frames_in(garbage)


def test_any_bytes_are_frames_and_a_rest_or_garbage() -> None:
    source = random.Random(8656)
    split = 0
    for _ in range(2000):
        stream = bytes([source.choice([0x40, 0x4F, 0x00])]) + source.choice([b"", b"\0\0", b"\1\0\0"])
        stream += source.randbytes(source.randint(0, 600))
        try:
            found, rest = frames_in(stream)
        except MalformedPacket:
            continue
        split += bool(found)
        assert sum(len(padded(frame)) for frame in found) + len(rest) == len(stream)
    assert split > 20
