from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from p2ptun.ice.scope import DEFAULT_REFUSED_NETWORKS, destination_from, is_refused, signalled
from p2ptun.types import Endpoint, Transport
from tests.sim.network import at


@pytest.mark.parametrize(
    "endpoint",
    [
        "0.0.0.0:1",
        "127.0.0.1:1",
        "224.0.0.251:5353",
        "255.255.255.255:1",
        "192.0.2.1:0",
        "[::]:1",
        "[::1]:1",
        "[ff02::fb]:5353",
        "[ff02::fb%eth0]:5353",
        "[::ffff:127.0.0.1]:1",
    ],
)
def test_addresses_that_are_nobodys_are_refused(endpoint: str) -> None:
    assert is_refused(at(endpoint), DEFAULT_REFUSED_NETWORKS)


@pytest.mark.parametrize("endpoint", ["192.0.2.1:1", "10.0.0.1:1", "100.64.0.1:1", "[fe80::1%eth0]:1", "[fd00::1]:1"])
def test_ordinary_addresses_are_not(endpoint: str) -> None:
    assert not is_refused(at(endpoint), DEFAULT_REFUSED_NETWORKS)


def test_mapped_address_does_not_slip_through_a_tunnel_prefix() -> None:
    mapped = Endpoint(at("[::1]:1").address.__class__("::ffff:10.77.0.1"), 1)
    assert is_refused(mapped, (ip_network("10.77.0.0/16"),))
    assert signalled(mapped) == at("10.77.0.1:1")


@pytest.mark.parametrize(
    ("base", "remote", "destination"),
    [
        ("192.0.2.1:1", "198.51.100.1:2", "198.51.100.1:2"),
        ("192.0.2.1:1", "[2001:db8::1]:2", None),
        ("127.0.0.1:1", "127.0.0.2:2", "127.0.0.2:2"),
        ("127.0.0.1:1", "192.0.2.1:2", None),
        ("192.0.2.1:1", "127.0.0.1:2", None),
        ("169.254.1.1:1", "169.254.1.2:2", "169.254.1.2:2"),
        ("169.254.1.1:1", "192.0.2.1:2", None),
        ("[2001:db8::1]:1", "[fe80::2]:2", None),
        ("[fe80::1%eth0]:1", "[2001:db8::2]:2", None),
        ("[fe80::1%eth0]:1", "[fe80::2]:2", "[fe80::2%eth0]:2"),
        ("[fe80::1%eth0]:1", "[fe80::2%eth0]:2", "[fe80::2%eth0]:2"),
        ("[fe80::1%eth0]:1", "[fe80::2%eth1]:2", None),
        ("[fe80::1]:1", "[fe80::2]:2", "[fe80::2]:2"),
    ],
)
def test_pitfall_22_only_what_shares_a_scope_pairs(base: str, remote: str, destination: str | None) -> None:
    assert destination_from(at(base), at(remote)) == (at(destination) if destination else None)


def test_only_bases_and_destinations_of_one_transport_meet() -> None:
    base, remote = at("[fe80::1%eth0]:1"), at("[fe80::2]:2")
    tcp_base, tcp_remote = replace(base, transport=Transport.TCP), replace(remote, transport=Transport.TCP)
    assert destination_from(base, tcp_remote) is None
    assert destination_from(tcp_base, remote) is None
    assert destination_from(tcp_base, tcp_remote) == replace(at("[fe80::2%eth0]:2"), transport=Transport.TCP)
    assert signalled(tcp_base) == replace(at("[fe80::1]:1"), transport=Transport.TCP)


@pytest.mark.parametrize("endpoint", ["[64:ff9b::7f00:1]:1", "[2002:7f00:1::1]:1", "[::7f00:1]:1", "[2002:a4d:1::1]:1"])
def test_address_that_stands_for_a_refused_one_is_refused(endpoint: str) -> None:
    assert is_refused(at(endpoint), (*DEFAULT_REFUSED_NETWORKS, ip_network("10.77.0.0/16")))


@pytest.mark.parametrize("endpoint", ["[64:ff9b::c000:201]:1", "[2002:c000:201::1]:1"])
def test_address_that_stands_for_an_ordinary_one_is_not(endpoint: str) -> None:
    assert not is_refused(at(endpoint), DEFAULT_REFUSED_NETWORKS)
