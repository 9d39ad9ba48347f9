"""Endpoints as the kernel writes them."""

from __future__ import annotations

import socket

import pytest

from p2ptun.io.sockaddr import SockAddr, endpoint_of, sockaddr_of
from p2ptun.types import Endpoint

LOOPBACK = socket.if_nametoindex("lo")


@pytest.mark.parametrize(
    ("endpoint", "sockaddr"),
    [
        (Endpoint.of("192.0.2.1", 7), ("192.0.2.1", 7)),
        (Endpoint.of("2001:db8::1", 7), ("2001:db8::1", 7, 0, 0)),
        (Endpoint.of("fe80::1%lo", 7), ("fe80::1", 7, 0, LOOPBACK)),
        (Endpoint.of("fe80::1", 7), ("fe80::1", 7, 0, 0)),
        (Endpoint.of("fe80::1%4000000", 7), ("fe80::1", 7, 0, 4000000)),  # no such interface: its number stays
    ],
)
def test_there_and_back(endpoint: Endpoint, sockaddr: SockAddr) -> None:
    assert sockaddr_of(endpoint) == sockaddr
    assert endpoint_of(sockaddr) == endpoint


def test_a_link_local_address_without_a_zone_is_on_the_link_of_the_socket() -> None:
    destination = Endpoint.of("fe80::2", 7)
    assert sockaddr_of(destination, Endpoint.of("fe80::1%lo", 1)) == ("fe80::2", 7, 0, LOOPBACK)
    assert sockaddr_of(destination, Endpoint.of("2001:db8::1", 1)) == ("fe80::2", 7, 0, 0)
    assert sockaddr_of(destination, Endpoint.of("192.0.2.1", 1)) == ("fe80::2", 7, 0, 0)


def test_a_global_address_gets_no_zone() -> None:
    assert sockaddr_of(Endpoint.of("2001:db8::2", 7), Endpoint.of("fe80::1%lo", 1)) == ("2001:db8::2", 7, 0, 0)


def test_a_zone_without_an_interface() -> None:
    with pytest.raises(OSError, match="no interface"):
        sockaddr_of(Endpoint.of("fe80::1%nowhere0", 7))
