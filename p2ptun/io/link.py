"""Links of this machine, and which of them lead through a tunnel. Values and rules only: `kernel` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from p2ptun.io.address import TUNNEL_KINDS

TUNNEL_TYPES = frozenset(
    {
        768,  # ARPHRD_TUNNEL: IPv4 in IPv4
        769,  # ARPHRD_TUNNEL6
        776,  # ARPHRD_SIT
        778,  # ARPHRD_IPGRE
        823,  # ARPHRD_IP6GRE
    }
)
"""Hardware types (linux/if_arp.h) of tunnels, for those that a driver made without naming their kind.

That a link is point-to-point and has no neighbours proves nothing: a mobile modem and a DSL line look just so.
"""

STACKED_KINDS = frozenset({"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"})
"""Kinds that put their packets on another link, the one that IFLA_LINK names. (A veth names its other end there.)"""

GATHERING_KINDS = frozenset({"bridge", "bond", "team"})
"""Kinds whose packets leave by the links that are enslaved to them (IFLA_MASTER)."""

_MACHINES = "tun"
"""A TAP in a bridge is a virtual machine far more often than a tunnel: it doesn't make the bridge one."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface. `lower` is what it is stacked on and `master` what it is enslaved to, by index; 0 for nothing."""

    index: int
    name: str
    kind: str
    is_running: bool
    hardware: int = 1  # ARPHRD_ETHER
    lower: int = 0
    master: int = 0


def tunnels(links: Mapping[int, Link]) -> frozenset[int]:
    """Return the indexes of the links whose packets travel inside other packets, however deep below that happens.

    A bridge or bond counts when everything in it does: one with a network card as well mostly leads outside.
    """
    return frozenset(index for index in links if _is_tunnel(links, index, frozenset()))


def _is_tunnel(links: Mapping[int, Link], index: int, above: frozenset[int]) -> bool:
    link = links.get(index)
    if link is None or index in above:  # a lower link in another namespace isn't seen; nor does a loop end
        return False
    if link.kind in TUNNEL_KINDS or link.hardware in TUNNEL_TYPES:
        return True
    if link.kind in STACKED_KINDS:
        return _is_tunnel(links, link.lower, above | {index})
    if link.kind in GATHERING_KINDS:
        ports = list(_ports(links.values(), index))
        return bool(ports) and all(
            port.kind != _MACHINES and _is_tunnel(links, port.index, above | {index}) for port in ports
        )
    return False


def _ports(links: Iterable[Link], master: int) -> Iterable[Link]:
    return (link for link in links if link.master == master)
