from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, ip_interface, ip_network
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.ice.credential import Credentials
from p2ptun.signal.description import (
    MAX_ADDRESSES,
    MAX_CANDIDATES,
    MAX_DESCRIPTION_SIZE,
    MAX_ROUTES,
    Description,
    Kind,
    decode_description,
    draw_session_id,
    encode_description,
    terms,
)
from tests.signal.sample import descriptions, make_candidate, make_description


def as_sent(description: Description) -> Description:
    """Return what of a description goes over: candidates without foundation, but with generation and ufrag."""
    generation, ufrag = description.generation, description.credentials.ufrag
    sent = (replace(each, foundation="", generation=generation, ufrag=ufrag) for each in description.candidates)
    return replace(description, candidates=tuple(sent))


def test_the_layout() -> None:
    description = Description(
        kind=Kind.ANSWER,
        session_id=b"SESSION.",
        credentials=Credentials("AAECAwQF", "////////////////////////", 7),
        public_key=bytes(range(32)),
        candidates=(make_candidate("203.0.113.7", 9, preference=3),),
        end_of_candidates=True,
        addresses=(ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64")),
        address_bids=0x8001,
        routes=(ip_network("192.168.0.0/16"), ip_network("fd00::/8")),
        features=0x0102,
    )
    expected = (
        "03" + b"SESSION.".hex() + "07" + "000102030405" + "ff" * 18 + bytes(range(32)).hex() + "0102" + "8001"
        "01" + "00cb00710700090003"
        "02" + "180a000001" + "80fd000000000000000000000000000001"
        "02" + "10c0a80000" + "48fd000000000000000000000000000000"
    )
    assert encode_description(description).hex() == expected
    assert as_sent(decode_description(bytes.fromhex(expected))) == as_sent(description)


@given(descriptions)
def test_round_trip(description: Description) -> None:
    data = encode_description(description)
    decoded = decode_description(data)
    assert as_sent(decoded) == as_sent(description)
    assert decoded.generation == description.credentials.generation
    assert encode_description(decoded) == data


@given(descriptions)
def test_truncated_ones_are_refused(description: Description) -> None:
    data = encode_description(description)
    for size in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_description(data[:size])


@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decoded = decode_description(data)
    except MalformedPacket:
        return
    assert decode_description(encode_description(decoded)) == decoded


def test_what_a_later_version_adds_is_skipped() -> None:
    data = encode_description(make_description())
    later = bytes([data[0] | 0xFC]) + data[1:] + b"a post-quantum key"
    assert decode_description(later) == decode_description(data)


def test_the_password_is_not_shown() -> None:
    description = make_description()
    assert description.credentials.password not in repr(description)


def test_session_ids_have_eight_bytes() -> None:
    assert draw_session_id(Random(1).randbytes) == Random(1).randbytes(8)


def test_the_longest_description_fits_a_line() -> None:
    longest = replace(
        make_description(),
        candidates=(make_candidate("2001:db8::1"),) * MAX_CANDIDATES,
        addresses=(ip_interface("fd00::1/64"),) * MAX_ADDRESSES,
        routes=(ip_network("fd00::/8"),) * MAX_ROUTES,
    )
    data = encode_description(longest)
    assert len(data) == 2777
    assert len(data) <= MAX_DESCRIPTION_SIZE
    assert as_sent(decode_description(data)) == as_sent(longest)


@pytest.mark.parametrize(
    "changes",
    [
        {"session_id": bytes(7)},
        {"public_key": bytes(33)},
        {"credentials": Credentials("abcd", "a" * 24)},
        {"credentials": Credentials("a" * 8, "a" * 22)},
        {"candidates": (make_candidate("10.0.0.1"),) * (MAX_CANDIDATES + 1)},
        {"addresses": (ip_interface("10.0.0.1/24"),) * (MAX_ADDRESSES + 1)},
        {"routes": (ip_network("10.0.0.0/8"),) * (MAX_ROUTES + 1)},
    ],
)
def test_what_has_no_room_is_a_bug_of_the_caller(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_description(replace(make_description(), **changes))


def test_longer_lists_than_allowed_are_refused() -> None:
    data = encode_description(replace(make_description(), candidates=()))
    for place, limit in ((70, MAX_CANDIDATES), (71, MAX_ADDRESSES), (72, MAX_ROUTES)):
        hostile = data[:place] + bytes([limit + 1]) + data[place + 1 :] + bytes(2000)
        with pytest.raises(MalformedPacket, match=f"{limit + 1} entries"):
            decode_description(hostile)
    with pytest.raises(MalformedPacket, match="a description of 3001 bytes"):
        decode_description(bytes(MAX_DESCRIPTION_SIZE + 1))


@pytest.mark.parametrize(
    "prefix",
    [
        bytes([33]) + bytes(4),
        bytes([63]) + bytes(4),
        bytes([64 + 129]) + bytes(16),
        bytes([255]) + bytes(16),
        bytes([64 + 96]) + IPv6Address("::ffff:10.0.0.1").packed,
    ],
)
def test_impossible_prefixes_are_refused(prefix: bytes) -> None:
    data = encode_description(replace(make_description(), candidates=()))
    with pytest.raises(MalformedPacket, match="the prefix"):
        decode_description(data[:71] + b"\x01" + prefix + b"\x00")
    with pytest.raises(MalformedPacket, match="the prefix"):
        decode_description(data[:72] + b"\x01" + prefix)


@pytest.mark.parametrize("prefix", [bytes([8, 10, 0, 0, 1]), bytes([64 + 8]) + b"\xfd" + bytes(14) + b"\x01"])
def test_a_route_has_no_host_bits(prefix: bytes) -> None:
    data = encode_description(replace(make_description(), candidates=()))
    with pytest.raises(MalformedPacket, match="host bits"):
        decode_description(data[:72] + b"\x01" + prefix)
    assert decode_description(data[:71] + b"\x01" + prefix + b"\x00").addresses


def test_the_terms_are_all_that_the_two_descriptions_say_but_for_candidates() -> None:
    offer, answer = make_description(Kind.OFFER), make_description(Kind.ANSWER, seed=2)
    agreed = terms(offer, answer)
    more = replace(offer, candidates=(make_candidate("192.0.2.1"),), end_of_candidates=True)
    assert terms(decode_description(encode_description(more)), answer) == agreed
    assert terms(replace(offer, features=0x0102), answer) == agreed
    changes: list[dict[str, Any]] = [
        {"session_id": bytes(8)},
        {"credentials": Credentials.generate(Random(3).randbytes)},
        {"public_key": bytes(32)},
        {"addresses": (ip_interface("10.0.0.1/24"),)},
        {"address_bids": 1},
        {"routes": (ip_network("192.168.0.0/16"),)},
    ]
    for change in changes:
        assert terms(replace(offer, **change), answer) != agreed, change
        assert terms(offer, replace(answer, **change)) != agreed, change
