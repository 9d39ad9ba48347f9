"""Addresses that a server names: where a stranger's word may lead us, and where not.

Nothing seals what a STUN server says here. An OTHER-ADDRESS, or our own address as it was seen, is somewhere to send a
few small requests to, and a hostile server would like to choose where.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, ip_network

from p2ptun.types import Endpoint, IPAddress, IPNetwork, embedded_ipv4, unmapped, without_zone


class Scope(IntEnum):
    """How far an address reaches; the farther, the greater."""

    NOWHERE = 0  # nothing is ever sent there
    LOOPBACK = 1
    LINK = 2
    PRIVATE = 3
    PUBLIC = 4


PRIVATE_NETWORKS: tuple[IPNetwork, ...] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918 3
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # behind a carrier's NAT, RFC 6598 7
        "fc00::/7",  # unique local, RFC 4193 3.1
    )
)

_SCOPES: tuple[tuple[IPNetwork, Scope], ...] = tuple(
    (ip_network(text), scope)
    for text, scope in (
        ("127.0.0.0/8", Scope.LOOPBACK),
        ("::1/128", Scope.LOOPBACK),
        ("0.0.0.0/8", Scope.NOWHERE),  # this network, RFC 1122 3.2.1.3
        ("224.0.0.0/4", Scope.NOWHERE),  # multicast
        ("240.0.0.0/4", Scope.NOWHERE),  # reserved, and the broadcast address
        ("::/96", Scope.NOWHERE),  # unspecified, and IPv4-compatible addresses, RFC 4291 2.5.5.1
        ("ff00::/8", Scope.NOWHERE),  # multicast
        ("fec0::/10", Scope.NOWHERE),  # site-local, RFC 3879
        ("169.254.0.0/16", Scope.LINK),  # RFC 3927
        ("fe80::/10", Scope.LINK),
        ("192.0.0.0/24", Scope.PRIVATE),  # between a home and its carrier, RFC 6333 5.7 (DS-Lite)
        *((str(network), Scope.PRIVATE) for network in PRIVATE_NETWORKS),
    )
)


def scope_of(address: IPAddress) -> Scope:
    """Tell how far an address reaches; an IPv6 one that stands for an IPv4 one reaches no farther than that."""
    address = without_zone(unmapped(address))
    own = next((scope for net, scope in _SCOPES if address.version == net.version and address in net), Scope.PUBLIC)
    inside = embedded_ipv4(address.packed)
    if inside is None or own is not Scope.PUBLIC:
        return own
    return min(own, scope_of(IPv4Address(inside)))


def may_follow(server: Endpoint, named: Endpoint) -> bool:
    """Tell whether we may send to an endpoint that `server` named: of its family, as far away as it is, never nearer.

    So a server in the internet leads nobody into his own network, and one on this machine may name another one there.
    """
    scope = scope_of(server.address)
    return (
        named.address.version == server.address.version
        and named.port != 0
        and scope is not Scope.NOWHERE
        and scope_of(named.address) is scope
    )
