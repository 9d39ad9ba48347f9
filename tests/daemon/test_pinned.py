"""What a configuration means for the tunnel; that it carries is shown in the laboratory."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from p2ptun.daemon.config import IceConfig, PeerConfig, RelayConfig, TunnelConfig
from p2ptun.daemon.event import Event
from p2ptun.daemon.pinned import PinnedTunnel, options_of, routes_into
from p2ptun.daemon.turn_credentials import Login, TurnCredentials
from p2ptun.errors import ConfigError
from p2ptun.ice.config import PathPolicy
from p2ptun.noise.keypair import KeyPair
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.uri import parse_uri

OWN, OTHER = (KeyPair.of_private(bytes([number]) * 32) for number in (1, 2))
LOGIN = TurnCredentials(Login(LongTermCredential("alice", "hush")))
CONFIG = TunnelConfig(
    path=Path("/etc/p2ptun/home.toml"),
    name="home",
    addresses=(ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64")),
    keys=OWN,
    mtu=1300,
    rendezvous=("http://192.0.2.1",),
    ca_file=Path("/etc/p2ptun/ca.pem"),
    ice=IceConfig(
        stun=(parse_uri("stun:192.0.2.1"),),
        turn=(RelayConfig(parse_uri("turn:192.0.2.2"), LOGIN), RelayConfig(parse_uri("turn:192.0.2.3"))),
        hides_addresses=True,
        maps_ports=False,
        hard_nat=False,
    ),
    peer=PeerConfig("nas", OTHER.public, (ip_network("10.77.0.2/32"),), path=PathPolicy.RELAY),
)


def test_everything_that_is_configured_is_asked_for() -> None:
    options = options_of(CONFIG)
    assert (options.name, options.addresses, options.mtu) == ("home", CONFIG.addresses, 1300)
    assert (options.stun, options.turn) == (
        CONFIG.ice.stun,
        tuple(map(parse_uri, ("turn:192.0.2.2", "turn:192.0.2.3"))),
    )
    assert (options.credentials_for("192.0.2.2"), options.credentials_for("192.0.2.3")) == (LOGIN, None)
    assert (options.ca_file, options.path_policy) == (CONFIG.ca_file, PathPolicy.RELAY)
    assert (options.hides_addresses, options.maps_ports, options.hard_nat) == (True, False, False)
    assert options.rendezvous == CONFIG.rendezvous
    assert options.algorithms


@pytest.mark.parametrize(
    ("allowed", "has_ipv6", "routes"),
    [
        ("10.77.0.2/32", True, ""),
        ("10.77.0.0/24", True, ""),
        ("10.77.0.0/16", True, "10.77.0.0/16"),
        ("10.78.0.2/32 192.168.1.0/24", True, "10.78.0.2/32 192.168.1.0/24"),
        ("fd77::2/128 fd78::/64", True, "fd78::/64"),
        ("fd77::2/128 fd78::/64 10.78.0.2/32", False, "10.78.0.2/32"),
    ],
)
def test_what_is_not_on_the_link_needs_a_route(allowed: str, has_ipv6: bool, routes: str) -> None:
    networks = tuple(map(ip_network, allowed.split()))
    assert routes_into(CONFIG.addresses, networks, has_ipv6) == tuple(map(ip_network, routes.split()))


def test_a_key_of_nobody_is_told_with_its_file() -> None:
    peer = replace(CONFIG.peer, public_key=bytes(32))
    told: list[Event] = []
    with pytest.raises(ConfigError) as caught:
        PinnedTunnel(replace(CONFIG, peer=peer), told.append)
    assert str(caught.value) == "/etc/p2ptun/home.toml: peer.public_key: this is nobody's key."
    assert told == []


@pytest.mark.trio
async def test_a_place_that_nobody_knows_is_told_before_anything_is_opened() -> None:
    told: list[Event] = []
    tunnel = PinnedTunnel(replace(CONFIG, rendezvous=("nowhere:1",), ca_file=None), told.append)
    with pytest.raises(ConfigError) as caught:
        await tunnel.run()
    assert str(caught.value).startswith("/etc/p2ptun/home.toml: rendezvous.url: ")
    assert told == []
