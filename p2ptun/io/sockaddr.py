"""Endpoints as the kernel writes them. A zone is a name in an Endpoint and an interface index in a socket address."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from p2ptun.types import Endpoint, without_zone

SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""(address, port) or (address, port, flow label, interface index), as Python's socket module has them."""


def endpoint_of(sockaddr: SockAddr) -> Endpoint:
    """Build the Endpoint. IPv4-mapped addresses don't occur: our IPv6 sockets are IPV6_V6ONLY."""
    if len(sockaddr) == 2:
        return Endpoint(IPv4Address(sockaddr[0]), sockaddr[1])
    host, port, _, index = sockaddr
    return Endpoint(IPv6Address(f"{host}%{_zone_of(index)}" if index else host), port)


def sockaddr_of(endpoint: Endpoint, local: Endpoint | None = None) -> SockAddr:
    """Build the kernel's form. A link-local address without a zone is on the link of `local`.

    Raises:
        OSError: If no interface has the zone's name.
    """
    address = endpoint.address
    if isinstance(address, IPv4Address):
        return str(address), endpoint.port
    zone = address.scope_id
    if zone is None and address.is_link_local and local is not None and isinstance(local.address, IPv6Address):
        zone = local.address.scope_id
    return str(without_zone(address)), endpoint.port, 0, _index_of(zone) if zone else 0


def _zone_of(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # the interface went after the datagram came
        return str(index)


def _index_of(zone: str) -> int:
    return int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
