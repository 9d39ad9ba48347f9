"""Frames of a stream: whole, in halves, and empty."""

from __future__ import annotations

import random

from p2ptun.io.framing import frame, split_frames


def test_a_frame_tells_its_length() -> None:
    assert frame(b"abc") == frame(memoryview(b"abc")) == b"\0\3abc"
    assert frame(b"") == bytes(2)


def frames_in(stream: bytes) -> tuple[list[bytes], bytes]:
    view = memoryview(b"....." + stream)
    spans, rest = split_frames(view, 5, len(view))
    return [bytes(view[start:end]) for start, end in spans], bytes(view[rest:])


def test_frames_are_found_wherever_the_stream_is_cut() -> None:
    payloads = [b"one", b"", b"x" * 65535, b"three"]
    stream = b"".join(map(frame, payloads))
    assert frames_in(stream) == (payloads, b"")
    for cut in (*range(12), len(stream) - 7, len(stream) - 6, len(stream) - 1):
        found, rest = frames_in(stream[:cut])
        assert found == payloads[: len(found)]
        assert b"".join(map(frame, found)) + rest == stream[:cut]
        assert frames_in(rest + stream[cut:])[0] == payloads[len(found) :]


def test_any_bytes_are_some_frames_and_a_rest() -> None:
    source = random.Random(4571)
    for _ in range(500):
        stream = source.randbytes(source.randint(0, 1000))
        found, rest = frames_in(stream)
        assert b"".join(map(frame, found)) + rest == stream
