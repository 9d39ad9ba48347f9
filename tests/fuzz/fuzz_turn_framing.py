"""The stream of a TURN server: any bytes are some frames and a rest, wherever it is cut, or garbage."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.io.turn_framing import LARGEST_TURN_FRAME, split_turn_frames


def test_one_input(data: bytes) -> None:
    """Split a stream whole, and in two at a place that its first byte tells."""
    whole = _split(data)
    if whole is None:
        return
    frames, rest = whole
    assert sum(len(each) + -len(each) % 4 for each in frames) + len(rest) == len(data)
    assert len(rest) < LARGEST_TURN_FRAME
    cut = data[0] % len(data) if data else 0
    first = _split(data[:cut])
    assert first is not None
    second = _split(first[1] + data[cut:])
    assert second == (frames[len(first[0]) :], rest)


def _split(data: bytes) -> tuple[list[bytes], bytes] | None:
    view = memoryview(data)
    try:
        spans, rest = split_turn_frames(view, 0, len(view))
    except MalformedPacket:
        return None
    return [data[start:end] for start, end in spans], data[rest:]
