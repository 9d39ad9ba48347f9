"""Which addresses ICE may offer (RFC 8445 5.1.1.1)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from p2ptun.io.address import MAX_CANDIDATE_ADDRESSES, AddressFlag, LocalAddress, choose_candidates

STABLE = "2001:db8:1:0:a1b2:c3d4:e5f6:1234"
EUI64 = "2001:db8:1:0:211:22ff:fe33:4455"


def local(
    text: str,
    prefix: int = 24,
    index: int = 2,
    kind: str = "",
    is_running: bool = True,
    flags: AddressFlag = AddressFlag.NONE,
) -> LocalAddress:
    return LocalAddress(ip_address(text), prefix, f"eth{index}", index, kind, is_running, flags)


def chosen(*addresses: LocalAddress, uplinks: tuple[int, ...] = ()) -> list[str]:
    return [str(each.address) for each in choose_candidates(addresses, uplinks)]


@pytest.mark.parametrize("kind", ["tun", "wireguard", "sit", "gre", "vxlan", "ipip", "xfrm", "ovpn"])
def test_a_tunnel_is_known_by_its_kind_whatever_its_name(kind: str) -> None:
    assert local("10.0.0.1", kind=kind).is_tunnel
    assert chosen(local("10.0.0.1", kind=kind), local("192.168.1.2")) == ["192.168.1.2"]


@pytest.mark.parametrize("kind", ["", "veth", "bridge", "vlan", "bond", "macvlan", "ppp"])
def test_other_kinds_are_candidates(kind: str) -> None:
    assert not local("10.0.0.1", kind=kind).is_tunnel
    assert chosen(local("10.0.0.1", kind=kind)) == ["10.0.0.1"]


@pytest.mark.parametrize("flag", [AddressFlag.TENTATIVE, AddressFlag.DEPRECATED, AddressFlag.DAD_FAILED])
def test_addresses_that_are_not_ready_or_on_their_way_out_stay_back(flag: AddressFlag) -> None:
    assert chosen(local(STABLE, 64, flags=flag | AddressFlag.STABLE_PRIVACY)) == []


def test_an_address_on_its_way_out_still_carries_what_it_carries() -> None:
    """RFC 4862 5.5.4: deprecated is for what exists, not for what begins."""
    assert local(STABLE, 64, flags=AddressFlag.DEPRECATED).can_carry
    assert local("192.168.1.2").can_carry
    assert not local(STABLE, 64, flags=AddressFlag.TENTATIVE | AddressFlag.DEPRECATED).can_carry
    assert not local("192.168.1.2", is_running=False).can_carry
    assert not local("192.168.1.2", kind="tun").can_carry
    assert not replace(local("192.168.1.2", kind="vlan"), is_stacked=True).can_carry


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "0.0.0.0", "224.0.0.1"),  # noqa: S104 (refused here, not bound)
        *("::1", "::", "ff02::1", "fec0::1", "::ffff:1.2.3.4", "::1.2.3.4"),
    ],
)
def test_addresses_that_reach_nobody_stay_back(text: str) -> None:
    assert chosen(local(text, 64 if ":" in text else 24)) == []


def test_an_interface_that_is_down_offers_nothing() -> None:
    assert chosen(local("192.168.1.2", is_running=False)) == []


def test_unique_local_addresses_are_offered() -> None:
    assert chosen(local("fd00::2", 64)) == ["fd00::2"]


def test_an_address_that_names_the_network_card_stays_back_behind_a_private_one_of_its_network() -> None:
    private = local(STABLE, 64, flags=AddressFlag.STABLE_PRIVACY)
    assert chosen(local(EUI64, 64), private) == [STABLE]
    assert chosen(local(EUI64, 64), local(STABLE, 64, flags=AddressFlag.TEMPORARY)) == [STABLE]


def test_an_address_that_names_the_network_card_is_offered_when_its_network_has_no_other() -> None:
    other_network = local("2001:db8:2::5", 64, flags=AddressFlag.TEMPORARY)
    other_interface = local(STABLE, 64, index=3, flags=AddressFlag.TEMPORARY)
    assert set(chosen(local(EUI64, 64), other_network)) == {EUI64, "2001:db8:2::5"}
    assert set(chosen(local(EUI64, 64), other_interface)) == {EUI64, STABLE}
    assert set(chosen(local(EUI64, 64), local("2001:db8:1::7", 64))) == {EUI64, "2001:db8:1::7"}


def test_link_local_addresses_are_a_last_resort_in_their_family() -> None:
    link_local_v6 = local("fe80::1%eth2", 64)
    link_local_v4 = local("169.254.3.4", 16)
    assert chosen(link_local_v6, link_local_v4) == ["fe80::1%eth2", "169.254.3.4"]
    assert chosen(link_local_v6, local("192.168.1.2")) == ["fe80::1%eth2", "192.168.1.2"]
    assert chosen(link_local_v4, local("fd00::2", 64)) == ["fd00::2", "169.254.3.4"]
    assert chosen(link_local_v6, link_local_v4, local("192.168.1.2"), local("fd00::2", 64, index=3)) == [
        "fd00::2",
        "192.168.1.2",
    ]


def test_uplinks_lead_and_the_families_take_turns() -> None:
    addresses = [
        local("172.17.0.1", index=2, kind="bridge"),
        local("192.168.1.2", index=5),
        local("10.1.1.1", index=4),
        local("fd00::2", 64, index=5),
    ]
    assert chosen(*addresses, uplinks=(5, 4)) == ["fd00::2", "192.168.1.2", "10.1.1.1", "172.17.0.1"]


def test_the_number_is_bounded() -> None:
    addresses = [local(f"10.0.{number}.1") for number in range(50)]
    assert len(choose_candidates(addresses, [])) == MAX_CANDIDATE_ADDRESSES


def test_the_network_of_an_address() -> None:
    assert local("192.168.1.2").network == ip_network("192.168.1.0/24")
    assert local("fe80::1%eth2", 64).network == ip_network("fe80::/64")
