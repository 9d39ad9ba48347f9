"""Which addresses can reach which: families, links and zones (RFC 8445 6.1.2.2, RFC 4007, RFC 8421)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

from p2ptun.types import Endpoint, IPNetwork, embedded_ipv4, unmapped, without_zone

DEFAULT_REFUSED_NETWORKS: tuple[IPNetwork, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network, RFC 1122 3.2.1.3
        "127.0.0.0/8",  # loopback
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
        "::/128",
        "::1/128",
        "ff00::/8",  # multicast
        "fec0::/10",  # site-local, deprecated: RFC 8445 5.1.1.1
    )
)


INSIDE_NETWORKS: tuple[IPNetwork, ...] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918 3
        "100.64.0.0/10",  # behind a carrier's NAT, RFC 6598
        "169.254.0.0/16",  # link-local, RFC 3927
        "172.16.0.0/12",
        "192.168.0.0/16",
    )
)
"""IPv4 addresses that nobody on the internet can reach as they are."""


def is_refused(endpoint: Endpoint, networks: Iterable[IPNetwork]) -> bool:
    """Tell whether nothing may ever be sent to `endpoint`: port 0, or an address inside one of `networks`.

    An IPv6 address that stands for an IPv4 one (NAT64, 6to4, Teredo) is judged as both.
    """
    address = without_zone(unmapped(endpoint.address))
    inside = embedded_ipv4(address.packed)
    forms = [address] if inside is None else [address, IPv4Address(inside)]
    return endpoint.port == 0 or any(form.version == net.version and form in net for form in forms for net in networks)


def signalled(endpoint: Endpoint) -> Endpoint:
    """Give the form of `endpoint` that both sides can compare: no zone, no IPv4-mapped address."""
    address = without_zone(unmapped(endpoint.address))
    return endpoint if address is endpoint.address else replace(endpoint, address=address)


def destination_from(base: Endpoint, remote: Endpoint) -> Endpoint | None:
    """Give the endpoint to send to in order to reach `remote` from `base`; None when the two don't share a scope.

    Families and transports must match, loopback reaches only loopback, link-local only link-local (RFC 8445 6.1.2.2). A
    link-local destination takes the zone of the base: the remote side can't know it.
    """
    here, there = base.address, unmapped(remote.address)
    if here.version != there.version or here.is_loopback != there.is_loopback or base.transport != remote.transport:
        return None
    if here.is_link_local != there.is_link_local:
        return None
    if isinstance(here, IPv6Address) and isinstance(there, IPv6Address) and here.is_link_local:
        return _on_link_of(here, there, remote)
    return Endpoint(there, remote.port, remote.transport)


def _on_link_of(here: IPv6Address, there: IPv6Address, remote: Endpoint) -> Endpoint | None:
    if there.scope_id not in (None, here.scope_id):
        return None
    zone = f"%{here.scope_id}" if here.scope_id is not None else ""
    return replace(remote, address=IPv6Address(f"{without_zone(there)}{zone}"))
