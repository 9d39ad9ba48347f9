"""NAT-PMP: the layouts of RFC 6886 3.2 and 3.3, the errors of 3.5, and nothing that isn't one of them."""

from __future__ import annotations

from ipaddress import IPv4Address
from random import Random

import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.nat.natpmp import (
    AddressResponse,
    ErrorResponse,
    MapResponse,
    Response,
    decode_response,
    encode_address_request,
    encode_map_request,
    is_epoch_plausible,
)

SEED = 6886
ADDRESS = bytes.fromhex("00 80 0000 00001388 cb007107")
MAPPING = bytes.fromhex("00 81 0000 00001388 a028 a02a 00001c20")


def test_requests_are_written_as_the_rfc_draws_them() -> None:
    assert encode_address_request() == b"\0\0"
    assert encode_map_request(41000, 41002, 7200) == bytes.fromhex("00 01 0000 a028 a02a 00001c20")
    assert encode_map_request(41000, 0, 0) == bytes.fromhex("00 01 0000 a028 0000 00000000")


@pytest.mark.parametrize(
    ("data", "response"),
    [
        (ADDRESS, AddressResponse(5000, IPv4Address("203.0.113.7"))),
        (MAPPING, MapResponse(5000, 41000, 41002, 7200)),
        (bytes.fromhex("00800000000000010b000001"), AddressResponse(1, IPv4Address("11.0.0.1"))),  # miniupnpd 2.3.1
        (bytes.fromhex("00810000000000011388138800001c20"), MapResponse(1, 5000, 5000, 7200)),
        (bytes.fromhex("00810003000000011388138800001c20"), ErrorResponse(1, 1, 3)),
        (bytes.fromhex("0080000100001388"), ErrorResponse(5000, 0, 1)),
        (bytes.fromhex("0081000200001388"), ErrorResponse(5000, 1, 2)),
        (bytes.fromhex("0082000500001388") + bytes(100), ErrorResponse(5000, 2, 5)),
    ],
)
def test_responses_are_read_as_the_rfc_draws_them(data: bytes, response: Response) -> None:
    assert decode_response(data) == response


def test_an_error_tells_what_it_is_about() -> None:
    assert not ErrorResponse(0, 0, 3).is_about_mapping
    assert ErrorResponse(0, 1, 3).is_about_mapping


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\2" + MAPPING[1:],
        b"\0\0" + ADDRESS[2:],  # a request
        b"\0\x82" + MAPPING[2:],  # a mapping of TCP
        ADDRESS + b"\0",
        MAPPING + b"\0",
        ADDRESS[:8] + MAPPING[8:],
        MAPPING[:8] + ADDRESS[8:],
    ],
)
def test_what_is_none_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_response(data)


@pytest.mark.parametrize("whole", [ADDRESS, MAPPING])
def test_truncation_at_every_length(whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises(MalformedPacket):
            decode_response(whole[:length])


def test_random_bytes_are_malformed_at_most() -> None:
    draw = Random(SEED)
    for _ in range(5000):
        data = bytearray(draw.randbytes(draw.choice([0, 1, 2, 8, 12, 16, 20])))
        if draw.random() < 0.7:
            data[:4] = bytes([0, draw.choice([0, 128, 129, 130]), 0, draw.choice([0, 0, 1])])[: len(data)]
        try:
            decode_response(bytes(data))
        except MalformedPacket:
            continue


@pytest.mark.parametrize(
    ("before", "now", "elapsed", "is_plausible"),  # 3.6
    [
        (5000, 5000, 0, True),
        (5000, 5100, 100, True),
        (5000, 9000, 100, True),  # only a clock that lags behind has been reset
        (5000, 5086, 100, True),
        (5000, 5085, 100, False),  # 5085 + 2 < 5000 + 87.5
        (5000, 4998, 0, True),
        (5000, 4997, 0, False),
        (5000, 0, 100, False),
    ],
)
def test_the_gateways_clock(before: int, now: int, elapsed: float, is_plausible: bool) -> None:
    assert is_epoch_plausible(before, now, elapsed) is is_plausible
