"""Frames of a TCP stream: any bytes are some frames and a rest, wherever the stream is cut."""

from __future__ import annotations

from p2ptun.io.framing import split_frames


def test_one_input(data: bytes) -> None:
    """Split a stream whole, and in two at a place that its first byte tells."""
    view = memoryview(data)
    spans, rest = split_frames(view, 0, len(view))
    whole = [data[start:end] for start, end in spans]
    assert b"".join(len(each).to_bytes(2, "big") + each for each in whole) + data[rest:] == data
    cut = data[0] % len(data) if data else 0
    spans, rest = split_frames(view, 0, cut)
    later = memoryview(data[rest:])
    again, _ = split_frames(later, 0, len(later))
    assert [data[start:end] for start, end in spans] + [bytes(later[start:end]) for start, end in again] == whole
