"""Endpoints as the kernel has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.io.rawaddr import encode_name, name_size, read_name
from p2ptun.types import Endpoint


@given(st.ip_addresses(), st.integers(0, 65535))
def test_names_are_read_as_they_were_written(address: object, port: int) -> None:
    endpoint = Endpoint.of(str(address), port)
    name = encode_name(endpoint)
    assert len(name) == name_size(endpoint.address.version)
    assert read_name(name) == endpoint


def test_ports_and_addresses_are_in_network_order() -> None:
    assert encode_name(Endpoint.of("192.0.2.1", 3478))[2:] == b"\x0d\x96\xc0\x00\x02\x01" + bytes(8)
    assert encode_name(Endpoint.of("2001:db8::1", 3478))[2:12] == b"\x0d\x96" + bytes(4) + b"\x20\x01\x0d\xb8"


def test_a_zone_is_an_interface() -> None:
    endpoint = Endpoint.of("fe80::1%lo", 1)
    assert encode_name(endpoint)[24:] == encode_name(Endpoint.of("fe80::1", 1), Endpoint.of("fe80::2%lo", 1))[24:]
    assert read_name(encode_name(endpoint)) == endpoint
    with pytest.raises(OSError, match="interface"):
        encode_name(Endpoint.of("fe80::1%nowhere0", 1))
