"""Streams: cut anywhere they give the same frames, each of the length that it claims, or fail for good."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.stun.stream import StreamSplitter


def test_one_input(data: bytes) -> None:
    """Feed the bytes at once, then in pieces as long as the first byte says."""
    whole = _frames(data, len(data) or 1)
    pieces = _frames(data, (data[0] if data else 0) + 1)
    assert whole == pieces
    frames, _ = whole
    assert data.startswith(b"".join(frames))
    for frame in frames:
        assert len(frame) == 20 + int.from_bytes(frame[2:4], "big")


def _frames(data: bytes, size: int) -> tuple[list[bytes], bool]:
    splitter = StreamSplitter()
    frames: list[bytes] = []
    try:
        for at in range(0, len(data), size):
            splitter.receive(data[at : at + size])
            while (frame := splitter.next_frame()) is not None:
                frames.append(frame)
    except MalformedPacket:
        return frames, True
    return frames, False
