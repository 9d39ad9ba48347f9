"""Addresses of this machine, and which of them ICE may offer. Values and rules only: `netlink` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Flag
from ipaddress import IPv6Address, ip_network
from itertools import chain, zip_longest

from p2ptun.types import IPAddress, IPNetwork, without_zone

MAX_CANDIDATE_ADDRESSES = 12
"""Our own bound: each address costs a socket and one pair per remote candidate, out of the 100 pairs of an agent."""

TUNNEL_KINDS = frozenset(
    {
        "tun",  # TUN and TAP: OpenVPN, ZeroTier, Tailscale, we ourselves
        "wireguard",
        "amneziawg",
        "ovpn",
        "ovpn-dco",
        "ipip",
        "ip6tnl",
        "sit",
        "gre",
        "gretap",
        "ip6gre",
        "ip6gretap",
        "erspan",
        "ip6erspan",
        "vti",
        "vti6",
        "xfrm",
        "vxlan",
        "geneve",
        "bareudp",
        "gtp",
        "amt",
    }
)
"""Link kinds (IFLA_INFO_KIND) whose packets travel inside other packets. `ppp` isn't one: mostly it is the DSL line."""


class AddressFlag(Flag):
    """What the kernel says of an address (IFA_F_* of linux/if_addr.h, IPv6 only)."""

    NONE = 0
    TEMPORARY = 0x01
    DAD_FAILED = 0x08
    DEPRECATED = 0x20
    TENTATIVE = 0x40
    STABLE_PRIVACY = 0x800


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """One address of one interface. A link-local IPv6 address carries its zone, which is the interface's name.

    `is_stacked` says that the interface, of whatever kind, stands on a tunnel (`link.tunnels`).
    """

    address: IPAddress
    prefix: int
    interface: str
    index: int
    kind: str
    is_running: bool
    flags: AddressFlag = AddressFlag.NONE
    is_stacked: bool = False

    @property
    def is_tunnel(self) -> bool:
        """Tell whether packets of this interface travel inside other packets."""
        return self.kind in TUNNEL_KINDS or self.is_stacked

    @property
    def can_carry(self) -> bool:
        """Tell whether datagrams may come from it: fit for a candidate, or on its way out (RFC 4862 5.5.4)."""
        return _is_usable(replace(self, flags=self.flags & ~AddressFlag.DEPRECATED))

    @property
    def network(self) -> IPNetwork:
        """The network on this interface's link that the address belongs to."""
        return ip_network(f"{without_zone(self.address)}/{self.prefix}", strict=False)


def choose_candidates(addresses: Iterable[LocalAddress], uplinks: Sequence[int]) -> list[LocalAddress]:
    """Choose the addresses that ICE offers as host candidates, best first, IPv6 and IPv4 in turns (RFC 8421 4).

    `uplinks` are the indexes of the interfaces with a default route, most preferred first; their addresses lead.
    RFC 8445 5.1.1.1: no loopback, no IPv4-mapped or -compatible, no site-local; addresses that give away the
    network card stay back where private ones of the same network exist; link-local ones only where the machine has
    nothing better in that family. Ours: nothing from a tunnel, for a path through it would run inside itself.
    """
    usable = _without_trackable([each for each in addresses if _is_usable(each)])
    rank = {index: position for position, index in enumerate(uplinks)}
    usable.sort(key=lambda each: (rank.get(each.index, len(rank)), each.index))
    ipv6 = _without_link_local([each for each in usable if each.address.version == 6])
    ipv4 = _without_link_local([each for each in usable if each.address.version == 4])
    in_turns = chain.from_iterable(zip_longest(ipv6, ipv4))
    return [each for each in in_turns if each is not None][:MAX_CANDIDATE_ADDRESSES]


def _is_usable(local: LocalAddress) -> bool:
    address = local.address
    if local.is_tunnel or not local.is_running:
        return False
    if local.flags & (AddressFlag.TENTATIVE | AddressFlag.DAD_FAILED | AddressFlag.DEPRECATED):
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return False
    # ::a.b.c.d and ::ffff:a.b.c.d are IPv4 in disguise; neither reaches anybody as IPv6
    return not (isinstance(address, IPv6Address) and (address.is_site_local or int(address) >> 48 == 0))


def _without_trackable(addresses: list[LocalAddress]) -> list[LocalAddress]:
    private = {(each.index, each.network) for each in addresses if _is_private(each)}
    return [each for each in addresses if not (_names_network_card(each) and (each.index, each.network) in private)]


def _is_private(local: LocalAddress) -> bool:
    return bool(local.flags & (AddressFlag.TEMPORARY | AddressFlag.STABLE_PRIVACY))


def _names_network_card(local: LocalAddress) -> bool:
    """Recognise a modified EUI-64 interface identifier (RFC 4291 appendix A): ff:fe amid the MAC address."""
    return local.address.version == 6 and local.address.packed[11:13] == b"\xff\xfe"


def _without_link_local(addresses: list[LocalAddress]) -> list[LocalAddress]:
    routed = [each for each in addresses if not each.address.is_link_local]
    return routed or addresses
