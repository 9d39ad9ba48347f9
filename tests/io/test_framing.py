"""Frames of a stream: whole, in halves, empty, and those that wait."""

from __future__ import annotations

import random

from p2ptun.io.framing import FRAMES_AT_ONCE, MAX_WAITING, MAX_WAITING_CHECKS, SendQueue, split_frames


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(2, "big") + payload


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


def drain(queue: SendQueue, step: int) -> bytes:
    """Take all that waits, so many bytes at once."""
    taken = b""
    while queue:
        part = b"".join(queue.head())[:step]
        queue.consume(len(part))
        taken += part
    return taken


def test_frames_leave_whole_however_little_the_stream_takes() -> None:
    for step in (1, 2, 3, 7, 1000):
        queue = SendQueue()
        for payload in (b"first", b"second", b"third"):
            queue.push_data(payload)
        assert drain(queue, step) == b"".join(map(frame, (b"first", b"second", b"third")))
        assert queue.head() == []


def test_stun_overtakes_data_but_not_in_the_middle_of_a_frame() -> None:
    queue = SendQueue()
    queue.push_data(b"first")
    queue.push_data(b"second")
    queue.consume(4)
    queue.push_check(b"check")
    queue.push_check(memoryview(b"again"))
    expected = frame(b"first")[4:] + frame(b"check") + frame(b"again") + frame(b"second")
    assert drain(queue, 5) == expected


def test_of_too_much_data_the_oldest_goes_and_stun_stays() -> None:
    queue = SendQueue()
    queue.push_check(b"check")
    count = MAX_WAITING // 1000 + 10
    for number in range(count):
        queue.push_data(number.to_bytes(2, "big").ljust(998, b"."))
    dropped = queue.trim()
    assert dropped == count - MAX_WAITING // 1000
    assert queue.trim() == 0
    found, _ = frames_in(drain(queue, 4096))
    assert found[0] == b"check"
    assert [int.from_bytes(each[:2], "big") for each in found[1:]] == list(range(dropped, count))


def test_a_frame_that_has_begun_is_no_longer_dropped() -> None:
    queue = SendQueue()
    queue.push_data(b"f" * 1000)
    queue.consume(1)
    for _ in range(3):
        queue.push_data(bytes(60000))
    assert queue.trim() == 1
    found, rest = frames_in(frame(b"f" * 1000)[:1] + drain(queue, 999))
    assert (found, rest) == ([b"f" * 1000, bytes(60000), bytes(60000)], b"")


def test_checks_are_bounded_too() -> None:
    queue = SendQueue()
    for number in range(MAX_WAITING_CHECKS + 3):
        queue.push_check(bytes([number]))
    assert queue.trim() == 3
    assert frames_in(drain(queue, 10))[0][0] == bytes([3])


def test_no_more_frames_are_given_at_once_than_the_kernel_takes() -> None:
    queue = SendQueue()
    for _ in range(FRAMES_AT_ONCE + 5):
        queue.push_data(b"x")
    assert len(queue.head()) == FRAMES_AT_ONCE
    assert drain(queue, 1 << 20) == frame(b"x") * (FRAMES_AT_ONCE + 5)
