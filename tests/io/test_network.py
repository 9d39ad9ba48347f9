"""What counts as a change of the network, and what doesn't."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from p2ptun.io.address import AddressFlag, LocalAddress
from p2ptun.io.network import DefaultRoute, Network

WIFI = LocalAddress(ip_address("192.168.7.3"), 24, "wlan0", 3, "", True)
WIRE = LocalAddress(ip_address("2001:db8::2"), 64, "eth0", 2, "", True)
WAY = DefaultRoute(4, "wlan0", 3, ip_address("192.168.7.1"))
NETWORK = Network((WIRE, WIFI), (WIRE, WIFI), (WAY,), (), {1: False, 2: False, 3: False})


def test_candidates_and_default_routes_count() -> None:
    others = [
        replace(NETWORK, candidates=(WIRE,)),
        replace(NETWORK, candidates=(WIRE, replace(WIFI, index=4))),
        replace(NETWORK, candidates=(WIRE, replace(WIFI, kind="bridge"))),
        replace(NETWORK, candidates=(WIRE, replace(WIFI, prefix=16))),
        replace(NETWORK, default_routes=()),
        replace(NETWORK, default_routes=(replace(WAY, gateway=ip_address("192.168.7.2")),)),
        replace(NETWORK, default_routes=(WAY, replace(WAY, interface="eth0", index=2))),
    ]
    fingerprints = {NETWORK.fingerprint, *(other.fingerprint for other in others)}
    assert len(fingerprints) == len(others) + 1


def test_the_rest_does_not() -> None:
    others = [
        replace(NETWORK, candidates=(WIFI, WIRE)),
        replace(NETWORK, candidates=(replace(WIRE, flags=AddressFlag.STABLE_PRIVACY), WIFI)),
        replace(NETWORK, present=()),
        replace(NETWORK, tunnel_networks=(ip_network("10.77.0.0/16"),)),
        replace(NETWORK, links={1: False, 9: True}),
    ]
    assert {other.fingerprint for other in others} == {NETWORK.fingerprint}


def test_a_default_route_in_words() -> None:
    assert str(WAY) == "wlan0 by 192.168.7.1"
    assert str(replace(WAY, gateway=ip_address("fe80::1%wlan0"))) == "wlan0 by fe80::1"
    assert str(replace(WAY, gateway=None)) == "wlan0"
