"""What the other side may not claim: it has been let into a tunnel, not put in charge of this machine's routing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from p2ptun.daemon.agreement import Agreement, agree
from p2ptun.errors import RendezvousError
from p2ptun.signal.description import Kind
from tests.signal.sample import make_description

HOME = ("192.168.1.0/24", "10.8.0.0/16", "100.64.0.1/32", "fd12:3456::/48", "0.0.0.0/0", "::/0", "2000::/3")
"""A network at home, a VPN, the carrier's gateway, and the ways to the Internet."""


def agree_with(routes: str = "", addresses: str = "", own: str = "", used: tuple[str, ...] = HOME) -> Agreement:
    """Offer to a side that claims `routes` and `addresses`."""
    offer = replace(make_description(Kind.OFFER), addresses=tuple(map(ip_interface, own.split())))
    answer = replace(
        make_description(Kind.ANSWER, seed=2),
        addresses=tuple(map(ip_interface, addresses.split())),
        routes=tuple(map(ip_network, routes.split())),
    )
    return agree(Kind.OFFER, offer, answer, map(ip_network, used), True)


@pytest.mark.parametrize(
    "routes",
    [
        "0.0.0.0/0 ::/0",
        "0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1",
        "0.0.0.0/2 64.0.0.0/2 128.0.0.0/2 193.0.0.0/8 2000::/4 3000::/4",
        "8.8.8.0/24 8.8.4.4/32 2001:4860:4860::8888/128",  # somebody's name server
        "127.0.0.0/8 224.0.0.0/4 169.254.0.0/16 240.0.0.0/4 ::1/128 fe80::/10 ff00::/8",
        "::/96 64:ff9b::/96 2002::/16 2001::/32",  # IPv4 in the dress of IPv6
        "10.0.0.0/7 172.0.0.0/8 192.168.0.0/15 f000::/4",  # private in part
        "192.168.1.0/24 192.168.1.128/25 192.168.0.0/16 10.8.7.0/24 100.64.0.0/10 fd12:3456:0:7::/64",  # in use here
    ],
)
def test_networks_of_others_are_not_led_to_the_other_side(routes: str) -> None:
    agreement = agree_with(routes)
    assert agreement.refused == tuple(map(ip_network, routes.split()))
    assert agreement.routes == ()
    assert {network.num_addresses for network in agreement.allowed_ips} == {1}


def test_private_networks_that_are_free_here_are_led_there() -> None:
    agreement = agree_with("192.168.7.0/24 10.9.0.0/16 172.16.0.0/12 100.65.0.0/16 fd77::/48")
    assert agreement.refused == ()
    assert len(agreement.routes) == 5


def test_the_halves_of_a_default_route_make_nothing_in_use() -> None:
    used = ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")
    assert agree_with("192.168.7.0/24 fd77::/48", used=used).refused == ()


def test_a_network_with_our_own_address_in_it_is_refused() -> None:
    """Else packets with our own address as their source would come in, which IPv6 takes for our own."""
    agreement = agree_with("10.9.0.0/16 fd98::/64", "10.9.8.2/24 fd98::2/64", "10.9.8.1/24 fd98::1/64")
    assert agreement.refused == (ip_network("10.9.0.0/16"), ip_network("fd98::/64"))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("8.8.8.8/32", "no private address"),
        ("2001:4860:4860::8888/128", "no private address"),
        ("127.0.0.1/32", "no private address"),
        ("169.254.169.254/32", "no private address"),
        ("224.0.0.251/32", "no private address"),
        ("fe80::66/64", "no private address"),  # who speaks from there may advertise itself as a router
        ("::1/128", "no private address"),
        ("192.168.1.1/24", "in use on this machine"),  # the gateway at home
        ("10.8.0.53/32", "in use on this machine"),  # a name server in the VPN
        ("fd12:3456::53/128", "in use on this machine"),
    ],
)
def test_an_address_of_somebody_else_ends_it(address: str, why: str) -> None:
    with pytest.raises(RendezvousError, match=why) as caught:
        agree_with(addresses=f"172.31.9.2/30 {address}")
    assert address.split("/")[0] in str(caught.value)
    assert "--address" in caught.value.remedy


def test_an_address_in_the_network_that_we_chose_is_the_other_sides_to_take() -> None:
    agreement = agree_with(addresses="198.51.100.2/24", own="198.51.100.1/24")
    assert agreement.allowed_ips == (ip_network("198.51.100.2/32"),)
    assert agreement.routes == ()
