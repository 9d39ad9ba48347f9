"""Frames that wait for a stream: which goes first, and which is dropped."""

from __future__ import annotations

from p2ptun.io.framing import frame
from p2ptun.io.send_queue import FRAMES_AT_ONCE, MAX_WAITING, MAX_WAITING_CHECKS, SendQueue
from tests.io.test_framing import frames_in


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
            queue.push_data(frame(payload))
        assert drain(queue, step) == b"".join(map(frame, (b"first", b"second", b"third")))
        assert queue.head() == []


def test_stun_overtakes_data_but_not_in_the_middle_of_a_frame() -> None:
    queue = SendQueue()
    queue.push_data(frame(b"first"))
    queue.push_data(frame(b"second"))
    queue.consume(4)
    queue.push_check(frame(b"check"))
    queue.push_check(frame(b"again"))
    expected = frame(b"first")[4:] + frame(b"check") + frame(b"again") + frame(b"second")
    assert drain(queue, 5) == expected


def test_of_too_much_data_the_oldest_goes_and_stun_stays() -> None:
    queue = SendQueue()
    queue.push_check(frame(b"check"))
    count = MAX_WAITING // 1000 + 10
    for number in range(count):
        queue.push_data(frame(number.to_bytes(2, "big").ljust(998, b".")))
    dropped = queue.trim()
    assert dropped == count - MAX_WAITING // 1000
    assert queue.trim() == 0
    found, _ = frames_in(drain(queue, 4096))
    assert found[0] == b"check"
    assert [int.from_bytes(each[:2], "big") for each in found[1:]] == list(range(dropped, count))


def test_stun_messages_that_hold_data_are_no_way_around_the_bound() -> None:
    queue = SendQueue()
    for number in range(MAX_WAITING_CHECKS):
        queue.push_check(frame(bytes([number]) * 60_000))
    assert queue.trim() == MAX_WAITING_CHECKS - MAX_WAITING // 60_002
    found, _ = frames_in(drain(queue, 4096))
    assert [each[0] for each in found] == [MAX_WAITING_CHECKS - 2, MAX_WAITING_CHECKS - 1]
    queue.push_check(frame(bytes(60_000)))
    assert queue.trim() == 0


def test_a_frame_that_has_begun_is_no_longer_dropped() -> None:
    queue = SendQueue()
    queue.push_data(frame(b"f" * 1000))
    queue.consume(1)
    for _ in range(3):
        queue.push_data(frame(bytes(60000)))
    assert queue.trim() == 1
    found, rest = frames_in(frame(b"f" * 1000)[:1] + drain(queue, 999))
    assert (found, rest) == ([b"f" * 1000, bytes(60000), bytes(60000)], b"")


def test_checks_are_bounded_too() -> None:
    queue = SendQueue()
    for number in range(MAX_WAITING_CHECKS + 3):
        queue.push_check(frame(bytes([number])))
    assert queue.trim() == 3
    assert frames_in(drain(queue, 10))[0][0] == bytes([3])


def test_no_more_frames_are_given_at_once_than_the_kernel_takes() -> None:
    queue = SendQueue()
    for _ in range(FRAMES_AT_ONCE + 5):
        queue.push_data(frame(b"x"))
    assert len(queue.head()) == FRAMES_AT_ONCE
    assert drain(queue, 1 << 20) == frame(b"x") * (FRAMES_AT_ONCE + 5)


def test_what_is_taken_is_whole_frames_in_the_same_order() -> None:
    queue = SendQueue()
    queue.push_data(frame(b"first"))
    queue.consume(3)
    queue.push_data(frame(b"second"))
    queue.push_check(frame(b"check"))
    assert queue.take(1) == frame(b"first")[3:]
    assert queue.take(8) == frame(b"check") + frame(b"second")
    assert (queue.take(8), bool(queue), queue.head()) == (b"", False, [])
    for _ in range(MAX_WAITING // 1000):
        queue.push_data(bytes(1000))
    assert queue.trim() == 0, "what was taken counts no more"
