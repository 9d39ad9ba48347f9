"""Nobody gets through the relay to where he has no business."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from p2ptun.relay.config import ServerConfig
from p2ptun.relay.guard import Guard
from p2ptun.types import Endpoint, Transport

OWN, OTHER_OWN = IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2")
OWN6 = IPv6Address("2001:db8::1")
CONFIG = ServerConfig(relay_addresses=(OWN, OWN6), own_addresses=frozenset({OTHER_OWN}))
NOBODY: frozenset[Endpoint] = frozenset()

FORBIDDEN_IPV4 = [
    *("0.0.0.1", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8"),
    *("168.63.129.16", "169.254.1.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    "203.0.113.2",  # our own
]
FORBIDDEN_IPV6 = [
    *("::", "::1", "::2", "100::1", "64:ff9b:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1"),
    *("ff02::1", "ff0e::1", "5f00::1", "2001:2::1", "2001:10::1", "2001:20::1", "4000::1", "::ffff:0:8.8.8.8"),
]


def embedded(address: str) -> dict[str, str]:
    """Every IPv6 address that stands for an IPv4 address."""
    high, low = (f"{part:x}" for part in divmod(int(IPv4Address(address)), 1 << 16))
    hidden = 0xFFFFFFFF - int(IPv4Address(address))
    return {
        "mapped": f"::ffff:{address}",
        "compatible": f"::{address}",
        "nat64": f"64:ff9b::{address}",
        "local nat64": f"64:ff9b:1::{address}",
        "6to4": f"2002:{high}:{low}::1",
        "teredo": f"2001:0:4136:e378:8000:63bf:{hidden >> 16:x}:{hidden & 0xFFFF:x}",
    }


def guard(config: ServerConfig = CONFIG) -> Guard:
    return Guard(config)


def allowing(*networks: str) -> ServerConfig:
    return replace(CONFIG, allowed_peers=tuple(ip_network(network) for network in networks))


def test_an_address_that_this_machine_gets_later_is_its_own_too() -> None:
    judge, new, later = guard(), IPv6Address("2001:db8::5"), IPv6Address("2001:db8::6")
    listener = Endpoint(IPv6Address("2001:db8::7"), 3478)
    judge.add_listener(listener)
    for present, absent in ((new, later), (later, new)):
        judge.set_machine(frozenset({OWN, present}))
        assert not judge.allows_address(present)
        assert not judge.allows(Endpoint(present, 22), NOBODY)
        assert judge.allows(Endpoint(absent, 22), NOBODY)
        assert judge.allows_address(OTHER_OWN)
        assert not judge.allows(Endpoint(OWN, 22), NOBODY)
        assert not judge.allows(Endpoint(OWN6, 22), NOBODY)
        assert not judge.allows_address(listener.address)


@pytest.mark.parametrize("address", FORBIDDEN_IPV4 + FORBIDDEN_IPV6)
def test_what_is_nobodys_business_is_refused(address: str) -> None:
    assert not guard().allows_address(ip_address(address))
    assert not guard().allows(Endpoint(ip_address(address), 53), NOBODY)


@pytest.mark.parametrize("form", ["mapped", "compatible", "nat64", "local nat64", "6to4", "teredo"])
@pytest.mark.parametrize("address", FORBIDDEN_IPV4)
def test_no_form_of_it_gets_through(address: str, form: str) -> None:
    assert not guard().allows_address(ip_address(embedded(address)[form]))


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "192.0.2.9", "198.51.100.7", "203.0.113.9", "100.63.255.255", "100.128.0.1", "172.32.0.1"),
        *("2001:db8:9::9", "2a00:1450::1", "3fff::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
        *("11.0.0.1", "126.255.255.255", "128.0.0.1", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
    ],
)
def test_everybody_else_is_reached(address: str) -> None:
    assert guard().allows_address(ip_address(address))
    assert guard().allows(Endpoint.of(address, 53), NOBODY)


def test_a_listed_network_is_reached() -> None:
    lenient = guard(allowing("10.1.0.0/16", "fd00:1::/32"))
    assert lenient.allows_address(ip_address("10.1.2.3"))
    assert lenient.allows_address(ip_address("::ffff:10.1.2.3"))
    assert lenient.allows_address(ip_address("64:ff9b::10.1.2.3"))
    assert lenient.allows_address(ip_address("fd00:1::1"))
    assert not lenient.allows_address(ip_address("10.2.0.1"))
    assert not lenient.allows_address(ip_address("fd00:2::1"))


def test_listing_ipv6_lets_no_hidden_ipv4_through() -> None:
    assert not guard(allowing("2000::/3")).allows_address(ip_address(embedded("127.0.0.1")["6to4"]))


def test_a_refused_network_is_not_reached_whatever_is_listed() -> None:
    strict = guard(replace(allowing("10.0.0.0/8"), refused_peers=(ip_network("10.9.0.0/16"), ip_network("8.8.8.8/32"))))
    assert strict.allows_address(ip_address("10.1.0.1"))
    assert not strict.allows_address(ip_address("10.9.0.1"))
    assert not strict.allows_address(ip_address("8.8.8.8"))
    assert not strict.allows_address(ip_address("2002:808:808::1"))


def test_port_zero_is_nobody() -> None:
    assert not guard().allows_port(Endpoint.of("192.0.2.9", 0), NOBODY)
    assert not guard().allows_port(Endpoint(OWN, 0), {Endpoint(OWN, 0)})


@pytest.mark.parametrize("address", [OWN, OWN6])
def test_our_relay_addresses_are_reached_only_where_somebody_is_relayed(address: IPv4Address | IPv6Address) -> None:
    live = {Endpoint(address, 50000)}
    assert guard().allows(Endpoint(address, 50000), live)
    assert not guard().allows(Endpoint(address, 50001), live)
    assert not guard().allows(Endpoint(address, 22), live)


def test_a_private_relay_address_works_between_clients() -> None:
    loopback = guard(replace(CONFIG, relay_addresses=(IPv4Address("127.0.0.1"),)))
    assert loopback.allows(Endpoint.of("127.0.0.1", 50000), {Endpoint.of("127.0.0.1", 50000)})
    assert not loopback.allows(Endpoint.of("127.0.0.1", 22), NOBODY)
    assert not loopback.allows(Endpoint.of("127.0.0.2", 50000), NOBODY)


def test_a_listener_is_never_reached() -> None:
    strict = guard(allowing("203.0.113.0/24"))
    strict.add_listener(Endpoint(OWN, 3478))
    live = {Endpoint(OWN, 50000), Endpoint(OWN, 3478)}
    assert not strict.allows(Endpoint(OWN, 3478), live)
    assert strict.allows(Endpoint(OWN, 50000), live)
    assert strict.allows(Endpoint(OWN, 80), live)  # listed: whoever runs the server wants it


def test_a_listener_on_all_addresses_is_never_reached_on_any() -> None:
    strict = guard(allowing("203.0.113.0/24"))
    strict.add_listener(Endpoint.of("0.0.0.0", 3478))  # noqa: S104 nothing is bound
    assert not strict.allows(Endpoint(OTHER_OWN, 3478), NOBODY)
    assert not strict.allows(Endpoint(OWN, 3478), {Endpoint(OWN, 3478)})
    assert strict.allows(Endpoint.of("203.0.113.77", 3478), NOBODY)


def test_the_address_of_any_listener_is_ours() -> None:
    strict = guard()
    strict.add_listener(Endpoint.of("203.0.113.5", 443, Transport.TLS))
    assert not strict.allows_address(ip_address("203.0.113.5"))
    assert not strict.allows_address(ip_address(embedded("203.0.113.5")["6to4"]))


def test_the_port_of_a_stream_listener_can_be_relayed_from() -> None:
    strict = guard()
    strict.add_listener(Endpoint(OWN, 50000, Transport.TCP))
    assert strict.allows(Endpoint(OWN, 50000), {Endpoint(OWN, 50000)})
