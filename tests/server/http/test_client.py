"""Who asks, when proxies stand between."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from p2ptun.server.http.client import ClientFinder

PROXY = "192.0.2.1"
FINDER = ClientFinder([ip_network("192.0.2.0/24"), ip_network("2001:db8:1::/48")])


def find(*values: str, forwarded: str = "", peer: str = PROXY) -> str:
    headers = [(b"X-Forwarded-For", value.encode("latin-1")) for value in values]
    headers += [(b"forwarded", forwarded.encode())] if forwarded else []
    return str(FINDER.find(ip_address(peer), headers))


def test_without_a_proxy_it_is_the_peer() -> None:
    assert find(peer="198.51.100.7") == "198.51.100.7"
    assert find("203.0.113.1", forwarded="for=203.0.113.1", peer="198.51.100.7") == "198.51.100.7"
    assert find() == PROXY


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (("203.0.113.1",), "203.0.113.1"),
        (("10.0.0.1, 203.0.113.1",), "203.0.113.1"),
        (("10.0.0.1", "203.0.113.1"), "203.0.113.1"),
        (("203.0.113.1, 192.0.2.7",), "203.0.113.1"),
        (("10.0.0.1, 203.0.113.1, 192.0.2.7, 192.0.2.8",), "203.0.113.1"),
        (("192.0.2.9, 192.0.2.8",), "192.0.2.9"),
        (("203.0.113.1:4711",), "203.0.113.1"),
        (("[2001:db8:2::1]:4711",), "2001:db8:2::1"),
        (("2001:db8:2::1",), "2001:db8:2::1"),
        (("::ffff:203.0.113.1",), "203.0.113.1"),
        (("fe80::1%eth0",), "fe80::1"),
        (("203.0.113.1, unknown",), PROXY),
        (("203.0.113.1, unknown, 192.0.2.7",), "192.0.2.7"),
        (("203.0.113.1,",), PROXY),
        (("",), PROXY),
        (("_hidden",), PROXY),
        (("203.0.113.1\xff",), PROXY),
        (("999.1.1.1",), PROXY),
        (("1.2.3.4, " * 1000 + "203.0.113.1",), "203.0.113.1"),
        (("203.0.113.1, " + ", ".join(["192.0.2.7"] * 40),), "192.0.2.7"),
    ],
)
def test_the_first_from_the_right_that_is_not_ours(values: tuple[str, ...], client: str) -> None:
    assert find(*values) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=203.0.113.1", "203.0.113.1"),
        ("For=203.0.113.1;proto=https;by=192.0.2.1", "203.0.113.1"),
        ('for="203.0.113.1:80"', "203.0.113.1"),
        ('proto=http; for="[2001:db8:2::1]:80"', "2001:db8:2::1"),
        ("for=10.0.0.1, for=203.0.113.1, for=192.0.2.7", "203.0.113.1"),
        ("for=203.0.113.1, for=unknown", PROXY),
        ("for=203.0.113.1, by=192.0.2.7", PROXY),
        ("for=203.0.113.1;for=203.0.113.2", PROXY),
        ("for=_x", PROXY),
        (";;;", PROXY),
    ],
)
def test_forwarded_is_read_likewise(forwarded: str, client: str) -> None:
    assert find(forwarded=forwarded) == client


def test_where_headers_disagree_nobody_is_believed() -> None:
    assert find("203.0.113.1", forwarded="for=203.0.113.1") == "203.0.113.1"
    assert find("203.0.113.1", forwarded="for=203.0.113.2") == PROXY


def test_a_mapped_peer_is_an_ipv4_one() -> None:
    assert find("203.0.113.1", peer="::ffff:192.0.2.1") == "203.0.113.1"
    assert find("203.0.113.1", peer="2001:db8:1::7") == "203.0.113.1"
