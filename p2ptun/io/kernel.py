"""What the kernel tells by netlink (pyroute2) as our values: links, addresses, routes, and refusals as sentences."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, TypeAlias

from p2ptun.errors import DeviceError, P2ptunError, PrivilegeError
from p2ptun.io.address import AddressFlag, LocalAddress
from p2ptun.io.link import Link, tunnels
from p2ptun.io.rtnetlink import IFF_UP_AND_RUNNING, MAIN_TABLE
from p2ptun.types import IPAddress, IPInterface, IPNetwork

PRIVILEGE_REMEDY = "Run it with sudo, or give it CAP_NET_ADMIN."

_UNICAST = 1  # RTN_UNICAST
Kernel: TypeAlias = Any  # pyroute2.IPRoute: pyroute2 comes without types, and is imported late
_Message: TypeAlias = Any  # its netlink message


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the main table: packets to `destination` leave by the interface, to `gateway` if there is one."""

    destination: IPNetwork
    interface: str
    index: int
    metric: int
    protocol: int
    gateway: IPAddress | None = None


@contextmanager
def open_kernel() -> Iterator[Kernel]:
    """Open a netlink socket for as long as the context lasts. Raises DeviceError, also for what is done inside."""
    from pyroute2 import IPRoute

    with explained("The kernel refused a netlink request"), IPRoute() as kernel:
        yield kernel


@contextmanager
def explained(what: str, remedy: str = "") -> Iterator[None]:
    """Turn an error of the kernel into one sentence that begins with `what`.

    Raises:
        DeviceError: With the remedy; PrivilegeError if we may not.
    """
    from pyroute2 import NetlinkError

    try:
        yield
    except P2ptunError:
        raise
    except (NetlinkError, OSError) as error:
        # pyroute2's error calls it code
        number = getattr(error, "code", None) or getattr(error, "errno", None) or 0
        if number == errno.EPERM:
            raise PrivilegeError(f"{what}: this needs CAP_NET_ADMIN.", PRIVILEGE_REMEDY) from error
        raise DeviceError(f"{what}: {os.strerror(number)}.", remedy) from error


def read_links(kernel: Kernel) -> dict[int, Link]:
    """Read all links, by index."""
    return {message["index"]: _read_link(message) for message in kernel.get_links()}


def read_addresses(kernel: Kernel, links: Mapping[int, Link]) -> list[LocalAddress]:
    """Read all addresses; those of an interface that came after the links were read are left for the next time."""
    through = tunnels(links)
    return [
        _read_address(each, links[each["index"]], each["index"] in through)
        for each in kernel.get_addr()
        if each["index"] in links
    ]


def read_routes(kernel: Kernel, links: Mapping[int, Link]) -> list[Route]:
    """Read the unicast routes of the main table, IPv4 first."""
    found = []
    for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 (a prefix, no bind)
        for message in kernel.get_routes(family=family, table=MAIN_TABLE):
            destination = ip_network(f"{message.get_attr('RTA_DST') or everywhere}/{message['dst_len']}")
            if message["type"] == _UNICAST:
                metric = message.get_attr("RTA_PRIORITY") or 0
                found += [
                    Route(destination, links[index].name, index, metric, message["proto"], gateway)
                    for index, gateway in _hops(message)
                    if index in links
                ]
    return found


def family_of(address: IPAddress | IPNetwork | IPInterface) -> int:
    """Tell the address family."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def index_of(name: str) -> int:
    """Return the index of an interface. Raises DeviceError when there is none of that name."""
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise DeviceError(f"There is no interface {name}.", "List those there are: ip -br link") from error


def _read_link(message: _Message) -> Link:
    is_elsewhere = message.get_attr("IFLA_LINK_NETNSID") is not None  # what it is stacked on has a number there
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME") or "",
        kind=message.get(("linkinfo", "kind")) or "",
        is_running=message["flags"] & IFF_UP_AND_RUNNING == IFF_UP_AND_RUNNING,
        hardware=message["ifi_type"],
        lower=0 if is_elsewhere else message.get_attr("IFLA_LINK") or 0,
        master=message.get_attr("IFLA_MASTER") or 0,
    )


def _read_address(message: _Message, link: Link, is_tunnel: bool) -> LocalAddress:
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    address = ip_address(text)
    flags = AddressFlag.NONE
    if address.version == 6:
        bits = message.get_attr("IFA_FLAGS") or message["flags"]
        # IPv4 uses the bits otherwise: what is TEMPORARY here means "secondary" there
        flags = AddressFlag(bits & sum(flag.value for flag in AddressFlag))
        if address.is_link_local:
            address = IPv6Address(f"{text}%{link.name}")
    return LocalAddress(
        address, message["prefixlen"], link.name, link.index, link.kind, link.is_running, flags, is_tunnel
    )


def _hops(message: _Message) -> Iterator[tuple[int, IPAddress | None]]:
    """Yield interface and gateway of a route: one, or those of its next hops where traffic is spread over several."""
    if (index := message.get_attr("RTA_OIF")) is not None:
        yield index, _gateway(message)
        return
    for hop in message.get_attr("RTA_MULTIPATH") or ():
        yield hop["oif"], _gateway(hop)


def _gateway(message: _Message) -> IPAddress | None:
    """Read the gateway; that of an IPv4 route may be an IPv6 address (RTA_VIA, RFC 5549)."""
    via = message.get_attr("RTA_VIA")
    text = message.get_attr("RTA_GATEWAY") or (via["addr"] if via else None)
    return ip_address(text) if text else None
