"""Which links lead through a tunnel, seen from their kind and from what they stand on."""

from __future__ import annotations

import pytest

from p2ptun.io.address import TUNNEL_KINDS
from p2ptun.io.link import GATHERING_KINDS, STACKED_KINDS, TUNNEL_TYPES, Link, tunnels

NO_HARDWARE = 0xFFFE  # ARPHRD_NONE


def link(index: int, kind: str, hardware: int = 1, lower: int = 0, master: int = 0) -> Link:
    return Link(index, f"link{index}", kind, True, hardware, lower, master)


def among(*links: Link) -> set[int]:
    return set(tunnels({each.index: each for each in links}))


@pytest.mark.parametrize("kind", sorted(TUNNEL_KINDS))
def test_a_tunnel_by_its_kind(kind: str) -> None:
    assert among(link(1, kind)) == {1}


@pytest.mark.parametrize("hardware", sorted(TUNNEL_TYPES))
def test_a_tunnel_by_its_hardware_type(hardware: int) -> None:
    assert among(link(1, "", hardware)) == {1}


@pytest.mark.parametrize("kind", ["", "ppp", "wwan", "veth", "dummy", "vrf", "bridge", "bond", "vlan"])
def test_what_is_none(kind: str) -> None:
    """A mobile modem has no kind and no hardware type, is point-to-point, and leads outside."""
    assert among(link(1, kind), link(2, kind, NO_HARDWARE)) == set()


@pytest.mark.parametrize("kind", sorted(STACKED_KINDS))
def test_what_is_stacked_is_what_is_below(kind: str) -> None:
    assert among(link(1, "wireguard"), link(2, kind, lower=1), link(3, "vlan", lower=2)) == {1, 2, 3}
    assert among(link(1, ""), link(2, kind, lower=1), link(3, "vlan", lower=2)) == set()


def test_a_veth_names_its_other_end_and_that_is_nothing_below() -> None:
    assert among(link(1, "tun"), link(2, "veth", lower=1)) == {1}


@pytest.mark.parametrize("kind", sorted(GATHERING_KINDS))
def test_what_gathers_links_is_a_tunnel_when_all_of_them_are(kind: str) -> None:
    assert among(link(1, kind), link(2, "vxlan", master=1), link(3, "gretap", master=1)) == {1, 2, 3}
    assert among(link(1, kind), link(2, "vxlan", master=1), link(3, "", master=1)) == {2}
    assert among(link(1, kind), link(2, "vlan", lower=3, master=1), link(3, "geneve")) == {1, 2, 3}


def test_a_bridge_of_virtual_machines_is_none() -> None:
    assert among(link(1, "bridge"), link(2, "tun", master=1), link(3, "tun", master=1)) == {2, 3}


def test_what_is_below_in_another_namespace_or_in_a_circle_is_not_followed() -> None:
    assert among(link(1, "macvlan", lower=9)) == set()
    assert among(link(1, "vlan", lower=2), link(2, "vlan", lower=1)) == set()
    assert among(link(1, "bridge", master=2), link(2, "bridge", master=1)) == set()
