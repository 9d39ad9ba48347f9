from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.dataplane.packet import (
    destination_of,
    is_martian_source,
    packet_length,
    source_of,
    unmapped,
)
from tests.dataplane.material import packet

V4 = packet("10.0.0.1", b"payload", "10.0.0.2")
V6 = packet("fd00::1", b"payload", "fd00::2")


def packed(text: str) -> bytes:
    return ip_address(text).packed


@pytest.mark.parametrize("whole", [V4, V6])
def test_a_sound_packet(whole: bytes) -> None:
    assert packet_length(whole, 0, len(whole)) == len(whole)
    shifted = b"??" + whole + b"???"
    assert packet_length(shifted, 2, len(shifted)) == len(whole)
    assert packet_length(bytearray(shifted), 2, 2 + len(whole)) == len(whole)
    assert packet_length(whole + b"\0", 0, len(whole) + 1) == len(whole)


@pytest.mark.parametrize("whole", [V4, V6])
def test_truncation(whole: bytes) -> None:
    assert [size for size in range(len(whole)) if packet_length(whole, 0, size)] == []


def test_addresses() -> None:
    assert (source_of(b"?" + V4, 1), destination_of(b"?" + V4, 1)) == (packed("10.0.0.1"), packed("10.0.0.2"))
    assert (source_of(b"?" + V6, 1), destination_of(b"?" + V6, 1)) == (packed("fd00::1"), packed("fd00::2"))


@pytest.mark.parametrize("version", [0, 1, 2, 3, 5, 7, 8, 15])
def test_other_versions(version: int) -> None:
    whole = bytearray(V6)
    whole[0] = version << 4 | 5
    assert packet_length(whole, 0, len(whole)) == 0


@pytest.mark.parametrize("words", range(16))
def test_ipv4_header_lengths(words: int) -> None:
    whole = bytearray(packet("10.0.0.1", bytes(20)))
    whole[0] = 0x40 | words
    assert packet_length(whole, 0, len(whole)) == (40 if 5 <= words <= 10 else 0)


@pytest.mark.parametrize(("claimed", "length"), [(0, 0), (19, 0), (20, 20), (27, 27), (28, 0), (65535, 0)])
def test_ipv4_total_lengths(claimed: int, length: int) -> None:
    whole = bytearray(V4)
    whole[2:4] = claimed.to_bytes(2, "big")
    assert packet_length(whole, 0, len(whole)) == length


@pytest.mark.parametrize(("claimed", "length"), [(0, 40), (7, 47), (8, 0), (65535, 0)])
def test_ipv6_payload_lengths(claimed: int, length: int) -> None:
    whole = bytearray(V6)
    whole[4:6] = claimed.to_bytes(2, "big")
    assert packet_length(whole, 0, len(whole)) == length


@given(st.binary(max_size=100), st.integers(0, 100))
def test_random_bytes(data: bytes, start: int) -> None:
    length = packet_length(data, start, len(data))
    assert 0 <= length <= max(0, len(data) - start)
    if length:
        assert len(source_of(data, start)) == len(destination_of(data, start))


def test_unmapped() -> None:
    assert unmapped(packed("::ffff:192.0.2.1")) == packed("192.0.2.1")
    for address in ("192.0.2.1", "::192.0.2.1", "2001:db8::1"):
        assert unmapped(packed(address)) == packed(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.1.2.3", "127.0.0.1", "127.255.0.1", "224.0.0.1", "239.9.9.9", "255.255.255.255"),
        *("::", "::1", "ff02::1", "ffff::", "::ffff:10.0.0.1"),
    ],
)
def test_martians(address: str) -> None:
    assert is_martian_source(packed(address))


@pytest.mark.parametrize("address", ["10.0.0.1", "223.1.1.1", "240.0.0.1", "126.0.0.1", "fe80::1", "fd00::1", "::2"])
def test_no_martians(address: str) -> None:
    assert not is_martian_source(packed(address))
