from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.aead.buffer import Batch, Buffer
from p2ptun.errors import LocalProtocolError


def test_the_three_faces_are_the_same_bytes() -> None:
    buffer = Buffer(8)
    buffer.view[0:2] = b"ab"
    buffer.pointer[2] = 99
    assert buffer.raw == b"abc" + bytes(5)
    assert len(buffer) == buffer.size == 8


def test_a_buffer_can_not_be_resized() -> None:
    buffer = Buffer(8)
    with pytest.raises(BufferError):
        buffer.raw.extend(b"more")


@pytest.mark.parametrize("data", [b"", b"data"])
def test_a_buffer_of_bytes_holds_a_copy(data: bytes) -> None:
    assert Buffer.of(data).raw == data
    assert len(Buffer.of(data)) == len(data)


@given(st.lists(st.binary(max_size=10), max_size=20), st.integers(0, 100))
def test_a_batch_takes_what_fits_in_order(items: list[bytes], size: int) -> None:
    batch = Batch(size)
    taken = [item for item in items if batch.append(item)]
    assert [bytes(view) for view in batch] == taken
    assert len(batch) == len(taken)
    assert batch.end == sum(map(len, taken))
    assert batch.room == size - batch.end
    left = [item for item in items if len(item) > batch.room]
    assert not any(batch.append(item) for item in left)
    batch.clear()
    assert (len(batch), batch.end, batch.room) == (0, 0, size)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_whatever_holds_bytes_can_be_appended(kind: type) -> None:
    batch = Batch(8)
    assert batch.append(kind(b"abc"))
    assert [bytes(view) for view in batch] == [b"abc"]


def test_readers_read_straight_in() -> None:
    batch = Batch(16)
    batch.append(b"ab")
    batch.buffer.view[batch.end + 4 : batch.end + 7] = b"xyz"
    batch.add_span(batch.end + 4, batch.end + 7)
    assert [bytes(view) for view in batch] == [b"ab", b"xyz"]
    assert batch.spans == [(0, 2), (6, 9)]
    assert batch.room == 7


def test_views_are_into_the_buffer() -> None:
    batch = Batch(4)
    batch.append(b"ab")
    next(iter(batch))[0] = 122
    assert batch.buffer.raw == b"zb\0\0"


def test_a_part_shares_the_buffer_and_not_the_list() -> None:
    batch = Batch(8)
    for data in (b"ab", b"cd", b"ef"):
        batch.append(data)
    part = batch.share(batch.spans[1:])
    assert part.buffer is batch.buffer
    assert [bytes(view) for view in part] == [b"cd", b"ef"]
    part.clear()
    assert len(batch) == 3


@pytest.mark.parametrize(("start", "end"), [(1, 3), (3, 2), (2, 5), (-1, 1)])
def test_spans_neither_overlap_nor_leave_the_buffer(start: int, end: int) -> None:
    batch = Batch(4)
    batch.append(b"ab")
    with pytest.raises(LocalProtocolError, match="doesn't fit"):
        batch.add_span(start, end)
    assert batch.spans == [(0, 2)]
