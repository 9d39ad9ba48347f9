"""Streams cut at every place, garbage in them, and room for frames that aren't STUN."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.stun.stream import StreamSplitter, measure_stun
from tests.stun.vectors import SAMPLES

MESSAGES = [data for data, _ in SAMPLES.values()]
STREAM = b"".join(MESSAGES)


def frames(splitter: StreamSplitter) -> list[bytes]:
    found = []
    while (frame := splitter.next_frame()) is not None:
        found.append(frame)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 19, 20, 21, 100, len(STREAM)])
def test_pieces_of_any_size(size: int) -> None:
    splitter = StreamSplitter()
    found = []
    for at in range(0, len(STREAM), size):
        splitter.receive(STREAM[at : at + size])
        found += frames(splitter)
    assert found == MESSAGES
    assert splitter.next_frame() is None


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_pieces_of_all_sizes(cuts: list[int]) -> None:
    splitter = StreamSplitter()
    found = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        splitter.receive(STREAM[start:end])
        found += frames(splitter)
    assert found == MESSAGES


def test_every_truncation_waits() -> None:
    for length in range(len(MESSAGES[0])):
        splitter = StreamSplitter()
        splitter.receive(MESSAGES[0][:length])
        assert splitter.next_frame() is None
        splitter.receive(MESSAGES[0][length:])
        assert splitter.next_frame() == MESSAGES[0]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x40",
        b"HTTP/1.1 400 Bad Request",
        b"\x16\x03\x01\x02\x00\x01\x00",  # a TLS ClientHello where none belongs
        b"\x00\x01\x00\x00\x20",
        b"\x00\x01\x00\x00\x21\x12\xa4\x41",
        b"\x00\x01\x00\x02\x21\x12\xa4\x42",
    ],
)
def test_garbage_is_told_at_once_and_for_good(garbage: bytes) -> None:
    splitter = StreamSplitter()
    splitter.receive(MESSAGES[0] + garbage)
    assert splitter.next_frame() == MESSAGES[0]
    with pytest.raises(MalformedPacket, match="stream"):
        splitter.next_frame()
    splitter.receive(MESSAGES[0])
    with pytest.raises(MalformedPacket, match="stream"):
        splitter.next_frame()


def test_lengths() -> None:
    head = bytes.fromhex("0001fffc2112a442")
    assert measure_stun(head) == 20 + 0xFFFC
    assert measure_stun(b"") is None
    assert measure_stun(head[:7]) is None


def test_other_frames_can_be_mixed_in() -> None:
    def measure(head: bytes) -> int | None:
        if head[:1] < b"\x40":
            return measure_stun(head)
        return None if len(head) < 4 else 4 + -(-int.from_bytes(head[2:4], "big") // 4) * 4

    channel_data = bytes.fromhex("40000003 61626300")
    splitter = StreamSplitter(measure)
    mixed = [MESSAGES[0], channel_data, MESSAGES[1], channel_data]
    found = []
    for byte in b"".join(mixed):
        splitter.receive(bytes([byte]))
        found += frames(splitter)
    assert found == mixed
