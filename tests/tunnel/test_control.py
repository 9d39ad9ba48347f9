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
    Acknowledgement,
    Close,
    CloseReason,
    IceCredentials,
    IceDescription,
    Keepalive,
    KnownMessage,
    Unknown,
    decode_control,
    encode_control,
)

UFRAG, PASSWORD = "abcd", "0123456789abcdefghij+/"
CREDENTIALS = IceCredentials(7, UFRAG, PASSWORD)
counts = st.integers(0, 2**32 - 1)
credentials = st.builds(
    IceCredentials,
    counts,
    st.from_regex("[A-Za-z0-9+/]{4,20}", fullmatch=True),
    st.from_regex("[A-Za-z0-9+/]{22,40}", fullmatch=True),
)
messages: st.SearchStrategy[KnownMessage] = st.one_of(
    st.just(Keepalive()),
    st.builds(Close, st.sampled_from(CloseReason)),
    st.builds(Acknowledgement, counts),
    st.builds(
        IceDescription,
        st.integers(1, 2**32 - 1),
        counts,
        credentials,
        st.none() | credentials,
        st.lists(st.binary(max_size=30), max_size=MAX_CANDIDATES).map(tuple),
        st.booleans(),
        st.integers(0, 2**16 - 1),
    ),
)


def described(**changes: object) -> list[object]:
    """Write a description as another implementation might."""
    fields: dict[str, object] = {
        "revision": 1,
        "acknowledged": 0,
        "credentials": [0, UFRAG, PASSWORD],
        "next_credentials": None,
        "candidates": [b"c"],
        "end": False,
        "options": 0,
    }
    return [2, *(fields | changes).values()]


def test_vectors() -> None:
    assert encode_control(Keepalive()) == b"\x91\x00"
    assert encode_control(Close(CloseReason.SHUTDOWN)) == b"\x92\x01\xa8shutdown"
    assert encode_control(Acknowledgement(300)) == b"\x92\x03\xcd\x01\x2c"
    packed = b"\x93\x07\xa4abcd\xb60123456789abcdefghij+/"
    first = IceDescription(5, 4, CREDENTIALS, None, (b"c",), True, 1)
    assert encode_control(first) == b"\x98\x02\x05\x04" + packed + b"\xc0\x91\xc4\x01c\xc3\x01"
    second = IceDescription(5, 4, CREDENTIALS, CREDENTIALS, (), False, 0)
    assert encode_control(second) == b"\x98\x02\x05\x04" + packed + packed + b"\x90\xc2\x00"


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
    assert decode_control(msgspec.msgpack.encode([3, 9, "more"])) == Acknowledgement(9)
    assert isinstance(decode_control(msgspec.msgpack.encode([*described(options=0x8001), "more"])), IceDescription)
    assert decode_control(msgspec.msgpack.encode([99, {"x": 1}])) == Unknown(99)


def test_passwords_stay_out_of_the_repr() -> None:
    message = IceDescription(1, 0, CREDENTIALS, IceCredentials(8, UFRAG, PASSWORD), (), False, 0)
    assert repr(CREDENTIALS) == "IceCredentials(generation=7, ufrag='abcd')"
    assert PASSWORD not in repr(message)


def test_the_longest_credentials_leave_room_for_the_rest() -> None:
    longest = IceCredentials(2**32 - 1, "u" * 256, "p" * 256)
    message = IceDescription(2**32 - 1, 2**32 - 1, longest, longest, (), True, 2**16 - 1)
    assert decode_control(encode_control(message)) == message


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        ["0"],
        [-1],
        [1 << 16],
        [2],
        described()[:-1],
        described(revision=0),
        described(revision=1 << 32),
        described(acknowledged=-1),
        described(acknowledged=1 << 32),
        described(credentials=None),
        described(credentials=[0, UFRAG]),
        described(credentials=[-1, UFRAG, PASSWORD]),
        described(credentials=[1 << 32, UFRAG, PASSWORD]),
        described(credentials=[0, "abc", PASSWORD]),
        described(credentials=[0, "a" * 257, PASSWORD]),
        described(credentials=[0, "abc:", PASSWORD]),
        described(credentials=[0, "abcd\n", PASSWORD]),
        described(credentials=[0, UFRAG, PASSWORD[1:]]),
        described(credentials=[0, UFRAG, "p" * 257]),
        described(credentials=[0, UFRAG, PASSWORD + "ä"]),
        described(credentials=[0, b"abcd", PASSWORD]),
        described(next_credentials=[]),
        described(next_credentials=[1, "", ""]),
        described(candidates=[b"c"] * (MAX_CANDIDATES + 1)),
        described(candidates=[bytes(MAX_CANDIDATE_SIZE + 1)]),
        described(candidates=["text"]),
        described(end=1),
        described(options=-1),
        described(options=1 << 16),
        [3],
        [3, -1],
        [3, 1 << 32],
        [3, "1"],
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
