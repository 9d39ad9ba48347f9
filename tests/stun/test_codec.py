"""Each codec: its bytes by hand, the way back, and every way to be wrong."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import MalformedPacket
from p2ptun.stun import codec
from p2ptun.stun.attribute import ATTRIBUTES
from p2ptun.stun.codec import (
    AddressError,
    Change,
    Codec,
    ErrorCode,
    IcmpError,
    PasswordAlgorithm,
    integer,
    label,
    opaque,
    padding,
    text,
)
from p2ptun.types import Endpoint

TRANSACTION_ID = bytes(range(0x80, 0x8C))
V4 = Endpoint.of("192.0.2.1", 0x1234)
V6 = Endpoint.of("2001:db8::1", 0x1234)
REFUSALS = (ValueError, struct.error)

GOOD: list[tuple[Codec[Any], Any, str]] = [
    (codec.ADDRESS, V4, "00011234c0000201"),
    (codec.ADDRESS, V6, "0002123420010db8000000000000000000000001"),
    (codec.XOR_ADDRESS, V4, "00013326e112a643"),
    (codec.XOR_ADDRESS, V6, "000233260113a9fa808182838485868788898a8a"),
    (codec.ERROR, ErrorCode(420, "No"), "000004144e6f"),
    (codec.ERROR, ErrorCode(699, ""), "00000663"),
    (codec.ADDRESS_ERROR, AddressError(2, 440, "No"), "020004284e6f"),
    (codec.NUMBERS, (0x7FFF, 1), "7fff0001"),
    (codec.NUMBERS, (), ""),
    (codec.ALGORITHM, PasswordAlgorithm(2), "00020000"),
    (codec.ALGORITHM, PasswordAlgorithm(9, b"abc"), "0009000361626300"),
    (codec.ALGORITHMS, (PasswordAlgorithm(9, b"abc"), PasswordAlgorithm(1)), "000900036162630000010000"),
    (codec.ALGORITHMS, (), ""),
    (codec.ALGORITHMS, (PasswordAlgorithm(1),) * 16, "00010000" * 16),
    (codec.CHANGE, Change.ADDRESS | Change.PORT, "00000006"),
    (codec.CHANGE, Change(0), "00000000"),
    (codec.EVEN_PORT_BIT, True, "80"),
    (codec.EVEN_PORT_BIT, False, "00"),
    (codec.PORT, 3478, "0d960000"),
    (codec.ICMP_ERROR, IcmpError(3, 4, 1280), "0000060400000500"),
    (codec.ICMP_ERROR, IcmpError(127, 511, 0), "0000ffff00000000"),
    (codec.FLAG, True, ""),
    (text(4), "é", "c3a9"),
    (label(4), "é", "c3a9"),
    (opaque(0, 4), b"ab", "6162"),
    (integer(">Bxxx"), 17, "11000000"),
    (integer(">Hxx"), 0x4000, "40000000"),
    (integer(">Q"), 1, "0000000000000001"),
]


@pytest.mark.parametrize(("used", "value", "expected"), GOOD)
def test_bytes(used: Codec[Any], value: object, expected: str) -> None:
    data = bytes.fromhex(expected)
    assert used.encode(value, TRANSACTION_ID) == data
    assert used.decode(data, TRANSACTION_ID) == value


@pytest.mark.parametrize(("used", "value", "data"), GOOD)
def test_truncation_is_refused_or_another_value(used: Codec[Any], value: object, data: str) -> None:
    whole = bytes.fromhex(data)
    for length in range(len(whole)):
        try:
            assert used.decode(whole[:length], TRANSACTION_ID) != value or used is codec.PORT or length % 4
        except REFUSALS:
            continue


@pytest.mark.parametrize(
    ("used", "data"),
    [
        (codec.ADDRESS, "00011234c00002"),
        (codec.ADDRESS, "00011234c000020100"),
        (codec.ADDRESS, "00021234c0000201"),
        (codec.ADDRESS, "00031234c0000201"),
        (codec.ADDRESS, "0001"),
        (codec.ADDRESS, ""),
        (codec.XOR_ADDRESS, "00" * 21),
        (codec.XOR_ADDRESS, "0001"),
        (codec.ERROR, "000004"),
        (codec.ERROR, "00000200"),
        (codec.ERROR, "00000700"),
        (codec.ERROR, "00000464"),
        (codec.ERROR, "00000400" + "61" * 764),
        (codec.ADDRESS_ERROR, "02000264"),
        (codec.ADDRESS_ERROR, "020004"),
        (codec.NUMBERS, "000102"),
        (codec.ALGORITHM, ""),
        (codec.ALGORITHM, "0001000000020000"),
        (codec.ALGORITHMS, "000100"),
        (codec.ALGORITHMS, "00010001"),
        (codec.ALGORITHMS, "00010000" * 17),
        (codec.CHANGE, "000000"),
        (codec.EVEN_PORT_BIT, ""),
        (codec.EVEN_PORT_BIT, "8000"),
        (codec.PORT, "0d9600"),
        (codec.PORT, ""),
        (codec.ICMP_ERROR, "00000604"),
        (codec.FLAG, "01"),
        (text(2), "616161"),
        (text(2), "c3"),
        (label(2), "616161"),
        (opaque(2, 4), "61"),
        (opaque(2, 4), "6161616161"),
        (opaque(4, 16, step=4), "616161616161"),
        (integer(">I"), "0000000000"),
    ],
)
def test_wrong_bytes_are_refused(used: Codec[Any], data: str) -> None:
    with pytest.raises(REFUSALS):
        used.decode(bytes.fromhex(data), TRANSACTION_ID)


@pytest.mark.parametrize(
    ("used", "value"),
    [
        (codec.ADDRESS, Endpoint(V4.address, 65536)),
        (codec.ERROR, ErrorCode(299, "")),
        (codec.ERROR, ErrorCode(700, "")),
        (codec.ERROR, ErrorCode(400, "x" * 764)),
        (codec.ADDRESS_ERROR, AddressError(256, 440, "")),
        (codec.NUMBERS, (65536,)),
        (codec.ICMP_ERROR, IcmpError(128, 0, 0)),
        (codec.ICMP_ERROR, IcmpError(0, 512, 0)),
        (codec.FLAG, False),
        (text(2), "aaa"),
        (opaque(20, 20), b""),
        (integer(">I"), -1),
    ],
)
def test_wrong_values_are_refused(used: Codec[Any], value: object) -> None:
    with pytest.raises(REFUSALS):
        used.encode(value, TRANSACTION_ID)


def test_reserved_bits_and_bytes_are_ignored() -> None:
    assert codec.ADDRESS.decode(bytes.fromhex("ff011234c0000201"), TRANSACTION_ID) == V4
    assert codec.ERROR.decode(bytes.fromhex("fffffc00"), TRANSACTION_ID) == ErrorCode(400, "")
    assert codec.CHANGE.decode(bytes.fromhex("ffffffff"), TRANSACTION_ID) == Change.ADDRESS | Change.PORT
    assert codec.EVEN_PORT_BIT.decode(b"\x7f", TRANSACTION_ID) is False
    assert codec.PORT.decode(bytes.fromhex("0d96"), TRANSACTION_ID) == 3478
    assert integer(">Bxxx").decode(bytes.fromhex("11ffffff"), TRANSACTION_ID) == 17


def test_labels_show_what_is_no_utf8() -> None:
    assert label(8).decode(b"a\xffb", TRANSACTION_ID) == "a\ufffdb"
    assert codec.ERROR.decode(bytes.fromhex("00000400ff"), TRANSACTION_ID).reason == "\ufffd"


def test_an_ipv4_mapped_address_becomes_ipv4() -> None:
    mapped = bytes.fromhex("00021234") + IPv6Address("::ffff:192.0.2.1").packed
    assert codec.ADDRESS.decode(mapped, TRANSACTION_ID) == V4


def test_the_zone_stays_here() -> None:
    zoned = codec.ADDRESS.encode(Endpoint.of("fe80::1%eth0", 1), TRANSACTION_ID)
    assert codec.ADDRESS.decode(zoned, TRANSACTION_ID) == Endpoint.of("fe80::1", 1)


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(min_size=12, max_size=12))
def test_xor_addresses_come_back_under_their_own_transaction_id(
    address: IPv4Address | IPv6Address, port: int, transaction_id: bytes
) -> None:
    endpoint = Endpoint.of(address, port)
    data = codec.XOR_ADDRESS.encode(endpoint, transaction_id)
    assert codec.XOR_ADDRESS.decode(data, transaction_id) == endpoint
    if endpoint.address.version == 6:
        other = bytes(byte ^ 1 for byte in transaction_id)
        assert codec.XOR_ADDRESS.decode(data, other) != endpoint


@pytest.mark.parametrize("length", range(9))
def test_padding_fills_up_to_four(length: int) -> None:
    assert (length + padding(length)) % 4 == 0
    assert 0 <= padding(length) < 4


def test_random_bytes_are_malformed_or_come_back() -> None:
    seed = 8489
    draw = random.Random(seed)
    for attribute in ATTRIBUTES.values():
        for _ in range(200):
            data = draw.randbytes(draw.choice([0, 1, 2, 4, 8, 16, 20, 32, draw.randrange(64)]))
            try:
                value = attribute.decode(data, TRANSACTION_ID)
            except MalformedPacket:
                continue
            again = attribute.decode(attribute.encode(value, TRANSACTION_ID), TRANSACTION_ID)
            assert cast(object, again) == value, f"seed {seed}: {attribute.name} {data.hex()}"
