"""PCP's MAP opcode: the layouts of RFC 6887 7.1, 7.2 and 11.1, and nothing that isn't one of them."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.nat.pcp import (
    Mapping,
    MapRequest,
    Response,
    ResultCode,
    decode_response,
    encode_map_request,
    is_epoch_plausible,
)
from p2ptun.types import Endpoint, unmapped

NONCE = bytes(range(1, 13))
SEED = 6887

REQUEST = bytes.fromhex(
    "02 01 0000 00001c20 00000000000000000000ffffc0a8010a"  # version 2, MAP, 7200 s, 192.168.1.10
    "0102030405060708090a0b0c 11 000000 a028 a028 00000000000000000000ffff00000000"  # UDP, 41000, any address
)
RESPONSE = bytes.fromhex(
    "02 81 00 00 00000e10 00001388 000000000000000000000000"  # success, 3600 s, epoch 5000
    "0102030405060708090a0b0c 11 000000 a028 a02a 00000000000000000000ffffcb007107"  # 203.0.113.7:41002
)
GRANTED = Response(2, 1, 0, 3600, 5000, Mapping(NONCE, 17, 41000, Endpoint.of("203.0.113.7", 41002)))
# what miniupnpd 2.3.1 of Debian sent: a mapping, and a refusal of version 3
MINIUPNPD = bytes.fromhex(
    "0281000000001c2000000001000000000000000000000000ee51b8c597f237068a46f718"
    "110000000fa00fa000000000000000000000ffff0b000001"
)


def test_a_request_is_written_as_the_rfc_draws_it() -> None:
    request = MapRequest(ip_address("192.168.1.10"), NONCE, 41000, Endpoint.of("0.0.0.0", 41000), 7200)  # noqa: S104
    assert encode_map_request(request) == REQUEST


def test_a_renewal_suggests_what_there_was() -> None:
    request = MapRequest(ip_address("192.168.1.10"), NONCE, 41000, Endpoint.of("203.0.113.7", 41002), 7200)
    assert encode_map_request(request)[42:] == RESPONSE[42:]


def test_ipv6_is_written_as_it_is_without_its_zone() -> None:
    client, anywhere = ip_address("fe80::10%eth0"), Endpoint.of("::", 41000)
    data = encode_map_request(MapRequest(client, NONCE, 41000, anywhere, 0))
    assert data[8:24] == ip_address("fe80::10").packed
    assert data[44:] == bytes(16)


def test_a_response_is_read_as_the_rfc_draws_it() -> None:
    assert decode_response(RESPONSE) == GRANTED
    external = Endpoint.of("11.0.0.1", 4000)
    assert decode_response(MINIUPNPD) == Response(2, 1, 0, 7200, 1, Mapping(MINIUPNPD[24:36], 17, 4000, external))


def test_options_behind_it_are_passed_over() -> None:
    assert decode_response(RESPONSE + bytes.fromhex("80000004 00000000")) == GRANTED


def test_an_error_has_the_lifetime_of_the_error() -> None:
    refused = bytearray(RESPONSE)
    refused[3] = ResultCode.NOT_AUTHORIZED
    assert decode_response(bytes(refused)) == Response(2, 1, 2, 3600, 5000, GRANTED.mapping)


def test_another_opcode_has_no_mapping() -> None:
    announce = bytes.fromhex("02800000 00000000 00001388") + bytes(12)  # 14.1
    assert decode_response(announce) == Response(2, 0, 0, 0, 5000)


@pytest.mark.parametrize(
    ("data", "response"),
    [
        ("01810001 00000000 00000000" + "00" * 12, Response(1, 1, 1)),
        ("03810001 00000000 00000000" + "00" * 12, Response(3, 1, 1)),
        ("02810001 00000000 00001388" + "00" * 12, Response(2, 1, 1, 0, 5000)),  # our own version, of another request
    ],
)
def test_a_server_of_another_version_need_not_repeat_the_request(data: str, response: Response) -> None:
    assert decode_response(bytes.fromhex(data)) == response


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST,
        RESPONSE + bytes(2),
        RESPONSE + bytes(1100),
        b"\1" + RESPONSE[1:],  # version 1, and success
        b"\0\x81\0\1" + bytes(20),  # that is NAT-PMP's
        RESPONSE[:24],
        RESPONSE[:3] + b"\2" + RESPONSE[4:24],  # only UNSUPP_VERSION may come alone
    ],
)
def test_what_is_none_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_response(data)


def test_truncation_at_every_length() -> None:
    for length in range(len(RESPONSE)):
        with pytest.raises(MalformedPacket):
            decode_response(RESPONSE[:length])


def test_random_bytes_are_malformed_at_most() -> None:
    draw = Random(SEED)
    for _ in range(5000):
        data = bytearray(draw.randbytes(draw.choice([0, 1, 24, 28, 60, 64, 1100, 1104])))
        if draw.random() < 0.5:
            data[:2] = b"\2\x81"[: len(data)]
        try:
            decode_response(bytes(data))
        except MalformedPacket:
            continue


@given(st.binary(min_size=12, max_size=12), st.integers(1, 65535), st.integers(0, 65535), st.ip_addresses())
def test_what_is_asked_for_can_be_read_back(nonce: bytes, internal: int, port: int, address: str) -> None:
    suggested = Endpoint.of(address, port)
    data = encode_map_request(MapRequest(ip_address("192.168.1.10"), nonce, internal, suggested, 7200))
    answer = b"\2\x81\0\0" + bytes(20) + data[24:]  # a gateway that gives what is suggested
    mapping = decode_response(answer).mapping
    assert mapping is not None
    assert (mapping.nonce, mapping.internal_port, mapping.external.port) == (nonce, internal, port)
    if not suggested.address.is_unspecified:
        assert mapping.external.address == unmapped(suggested.address)


@pytest.mark.parametrize(
    ("before", "now", "elapsed", "is_plausible"),  # 8.5
    [
        (5000, 5000, 0, True),
        (5000, 5100, 100, True),
        (5000, 4999, 0.5, True),  # datagrams overtake each other
        (5000, 4998, 0, False),
        (5000, 0, 100, False),
        (5000, 5016, 13, True),
        (5000, 5016, 12.9, False),  # theirs is too fast: 12.9 + 2 < 15
        (5000, 5013, 16, True),
        (5000, 5012, 16, False),  # theirs is too slow: 12 + 2 < 15
        (0, 3600, 3600, True),
        (5000, 8600, 60, False),  # ours stood still while the machine slept
    ],
)
def test_the_gateways_clock(before: int, now: int, elapsed: float, is_plausible: bool) -> None:
    assert is_epoch_plausible(before, now, elapsed) is is_plausible
