from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.tunnel.control import (
    MAX_CANDIDATE_SIZE,
    MAX_CANDIDATES,
    MAX_CONTROL_SIZE,
    Candidates,
    Close,
    CloseReason,
    Keepalive,
    KnownMessage,
    Unknown,
    decode_control,
    encode_control,
)

messages: st.SearchStrategy[KnownMessage] = st.one_of(
    st.just(Keepalive()),
    st.builds(Close, st.sampled_from(CloseReason)),
    st.builds(
        Candidates,
        st.integers(0, 2**32 - 1),
        st.lists(st.binary(max_size=30), max_size=MAX_CANDIDATES).map(tuple),
        st.booleans(),
    ),
)


def test_vectors() -> None:
    assert encode_control(Keepalive()) == b"\x91\x00"
    assert encode_control(Close(CloseReason.SHUTDOWN)) == b"\x92\x01\xa8shutdown"
    assert encode_control(Candidates(7, (b"c",), True)) == b"\x94\x02\x07\x91\xc4\x01c\xc3"


@given(messages)
def test_round_trip(message: KnownMessage) -> None:
    assert decode_control(encode_control(message)) == message


@given(messages)
def test_truncation(message: KnownMessage) -> None:
    encoded = encode_control(message)
    for size in range(len(encoded)):
        with pytest.raises(MalformedPacket):
            decode_control(encoded[:size])


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    try:
        decode_control(data)
    except MalformedPacket:
        return


def test_a_newer_version_is_understood_as_far_as_we_can() -> None:
    assert decode_control(msgspec.msgpack.encode([0, "more"])) == Keepalive()
    assert decode_control(msgspec.msgpack.encode([1, "boredom", 5])) == Close(CloseReason.UNSPECIFIED)
    assert decode_control(msgspec.msgpack.encode([99, {"x": 1}])) == Unknown(99)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        ["0"],
        [-1],
        [1 << 16],
        [2],
        [2, -1],
        [2, 1 << 32],
        [2, 0, [b"c"] * (MAX_CANDIDATES + 1)],
        [2, 0, [bytes(MAX_CANDIDATE_SIZE + 1)]],
        [2, 0, ["text"]],
        [2, 0, [], 1],
        [1, 7],
        None,
    ],
)
def test_bounds(content: object) -> None:
    with pytest.raises(MalformedPacket, match="control message"):
        decode_control(msgspec.msgpack.encode(content))


@pytest.mark.parametrize(
    "payload",
    [
        b"\x91\x00".ljust(MAX_CONTROL_SIZE + 1, b"\0"),
        b"\x91" * MAX_CONTROL_SIZE,
        b"\x92\x63" + b"\x91" * (MAX_CONTROL_SIZE - 2),
        b"\xdd\xff\xff\xff\xff\x00",
        b"\x91\x00\x00",
    ],
)
def test_bombs(payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_control(payload)
