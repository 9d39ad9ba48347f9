"""Addresses, routes and interfaces of this machine, through netlink (pyroute2).

Every function opens a netlink socket, does its work in one go and closes it. They block for a few milliseconds (more on
a machine with full Internet routes), so code inside trio calls them by `trio.to_thread.run_sync`. Calling them straight
from a trio task works too (pyroute2 runs an event loop of its own for the length of the call, and trio's isn't
asyncio's), which is what clean-up code under a cancelled scope does.

pyroute2 is imported on first use: it costs 0.1 s and some megabytes that `p2ptun genkey` needn't pay.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, TypeAlias

from p2ptun.errors import DeviceError, P2ptunError, PrivilegeError
from p2ptun.io.address import TUNNEL_KINDS, AddressFlag, LocalAddress, choose_candidates
from p2ptun.types import IPAddress, IPInterface, IPNetwork

ROUTE_PROTOCOL = 112
"""The origin that our routes carry (`ip route show proto 112`): what isn't tagged with it is never removed by us."""

QUEUE_LENGTH = 1000
"""Packets that wait in the TUN's queue: a burst of TCP at 1 Gb/s for 12 ms, the time of one busy turn of our loop."""

MIN_IPV6_MTU = 1280  # RFC 8200 5

PRIVILEGE_REMEDY = "Run it with sudo, or give it CAP_NET_ADMIN."

_REMEDIES = {
    4: "Choose another with --address.",
    6: "If IPv6 is switched off here (sysctl net.ipv6.conf.all.disable_ipv6), give only IPv4 addresses with --address.",
}

_CATCH_ALL_PREFIX = {4: 8, 6: 16}
"""Routes this wide say where to send what nobody else claims: a /31 inside 10.0.0.0/8 takes two addresses out of it."""

_MAIN_TABLE = 254  # RT_TABLE_MAIN
_UNICAST = 1  # RTN_UNICAST
_NO_DUPLICATE_DETECTION = 0x02  # IFA_F_NODAD
_NO_LINK_LOCAL = 1  # IN6_ADDR_GEN_MODE_NONE
_IFF_UP_AND_RUNNING = 0x1 | 0x40
_Kernel: TypeAlias = Any  # pyroute2.IPRoute: pyroute2 comes without types, and is imported late
_Message: TypeAlias = Any  # its netlink message
_IPV6_SWITCH = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the main table: packets to `destination` leave by the interface."""

    destination: IPNetwork
    interface: str
    index: int
    metric: int
    protocol: int


@dataclass(frozen=True, slots=True)
class RouteLookup:
    """The kernel's answer for one destination: the interface, and the source address it would use."""

    interface: str
    source: IPAddress | None
    is_tunnel: bool


def list_addresses() -> list[LocalAddress]:
    """List every address of every interface. Raises DeviceError."""
    with _kernel() as kernel:
        return _read_addresses(kernel, _read_links(kernel))


def candidate_addresses() -> list[LocalAddress]:
    """List the addresses fit for ICE host candidates, best first (rules: `choose_candidates`). Raises DeviceError."""
    with _kernel() as kernel:
        links = _read_links(kernel)
        defaults = [route for route in _read_routes(kernel, links) if route.destination.prefixlen == 0]
        addresses = _read_addresses(kernel, links)
    uplinks = dict.fromkeys(route.index for route in sorted(defaults, key=lambda route: route.metric))
    return choose_candidates(addresses, list(uplinks))


def existing_networks() -> list[IPNetwork]:
    """List the networks in use here: on the link of some interface, or behind a route of the main table.

    Tunnel addresses taken from one of them would hide its machines from this one. Default routes and other very wide
    ones are left out, or no private address would ever be free on a machine with a company VPN.

    Raises:
        DeviceError: If the kernel doesn't say.
    """
    with _kernel() as kernel:
        links = _read_links(kernel)
        on_link = {each.network for each in _read_addresses(kernel, links) if not each.address.is_link_local}
        routed = {
            route.destination
            for route in _read_routes(kernel, links)
            if route.destination.prefixlen > _CATCH_ALL_PREFIX[route.destination.version]
        }
    found = [each for each in on_link | routed if not (each.is_loopback or each.is_link_local or each.is_multicast)]
    return sorted(found, key=lambda each: (each.version, int(each.network_address), each.prefixlen))


def lookup_route(destination: IPAddress) -> RouteLookup | None:
    """Ask the kernel which way a packet to `destination` goes; None when there is no way.

    Where it leads through a tunnel (`is_tunnel`), it is no way for the datagrams of another tunnel.

    Raises:
        DeviceError: If the kernel doesn't say.
    """
    with _kernel() as kernel:
        zone = destination.scope_id if isinstance(destination, IPv6Address) else None
        request = {"dst": str(destination).partition("%")[0], "family": _family(destination)}
        try:
            answer = next(iter(kernel.route("get", **request, **({"oif": _index_of(zone)} if zone else {}))))
        except _netlink_error() as error:
            if _errno(error) in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return None
            raise
        link = _read_links(kernel)[answer.get_attr("RTA_OIF")]
        source = answer.get_attr("RTA_PREFSRC")
    return RouteLookup(link.name, ip_address(source) if source else None, link.kind in TUNNEL_KINDS)


def supports_ipv6() -> bool:
    """Tell whether a new interface here gets IPv6; if not, configure it without IPv6 addresses and routes."""
    try:
        return _IPV6_SWITCH.read_text().strip() == "0"
    except OSError:
        return False


def configure(name: str, addresses: Sequence[IPInterface], mtu: int, routes: Sequence[IPNetwork] = ()) -> None:
    """Give the interface its MTU and addresses, bring it up, and lead the routes into it.

    IPv6 addresses skip duplicate address detection, for a tunnel has no neighbours and they are to work at once; the
    kernel makes no link-local address, for its router solicitations would be the tunnel's first packets. Everything
    vanishes with the device. What is in use elsewhere is refused before anything is changed.

    Raises:
        DeviceError: If the kernel refuses, with the remedy; PrivilegeError if we may not.
    """
    check_mtu(mtu, any(address.version == 6 for address in addresses))
    with _kernel() as kernel:
        index = _index_of(name)
        links = _read_links(kernel)
        others = [each for each in _read_addresses(kernel, links) if each.index != index]
        foreign = [route for route in _read_routes(kernel, links) if route.index != index]
        for address in addresses:
            _check_address(address, others)
        for destination in routes:
            _check_route(destination, foreign)
        _set_up(kernel, index, mtu)
        for address in addresses:
            with _explained(f"The address {address} can't be set on {name}", _REMEDIES[address.version]):
                _add_address(kernel, index, address)
        connected = {address.network for address in addresses}
        for destination in dict.fromkeys(routes):
            if destination not in connected:
                with _explained(f"The route to {destination} can't lead into {name}"):
                    _add_route(kernel, index, destination)


def check_mtu(mtu: int, has_ipv6: bool) -> None:
    """Check that the MTU of a tunnel to come is large enough for what it carries.

    Raises:
        DeviceError: If it isn't, with the remedy.
    """
    if has_ipv6 and mtu < MIN_IPV6_MTU:
        raise DeviceError(
            f"An MTU of {mtu} is too small for IPv6, which needs {MIN_IPV6_MTU}.",
            f"Choose --mtu {MIN_IPV6_MTU} or more, or give only IPv4 addresses with --address.",
        )


def check_addresses(addresses: Sequence[IPInterface]) -> None:
    """Check that addresses for a tunnel to come are in use nowhere on this machine.

    Raises:
        DeviceError: If one is, with the remedy.
    """
    with _kernel() as kernel:
        present = _read_addresses(kernel, _read_links(kernel))
    for address in addresses:
        _check_address(address, present)


def list_routes() -> list[Route]:
    """List the unicast routes of the main table, IPv4 first. Raises DeviceError."""
    with _kernel() as kernel:
        return _read_routes(kernel, _read_links(kernel))


def add_routes(name: str, routes: Iterable[IPNetwork]) -> None:
    """Lead more networks into a configured interface. One that already leads there is no error.

    Raises:
        DeviceError: If the kernel refuses, with the remedy; PrivilegeError if we may not.
    """
    with _kernel() as kernel:
        index = _index_of(name)
        present = _read_routes(kernel, _read_links(kernel))
        own = {route.destination for route in present if route.index == index}
        wanted = [destination for destination in dict.fromkeys(routes) if destination not in own]
        for destination in wanted:
            _check_route(destination, [route for route in present if route.index != index])
        for destination in wanted:
            with _explained(f"The route to {destination} can't lead into {name}"):
                _add_route(kernel, index, destination)


def remove_routes(name: str, routes: Iterable[IPNetwork]) -> None:
    """Take routes out of the interface again, ours only (by ROUTE_PROTOCOL). Missing ones are no error.

    Closing the TUN removes them anyway: this is for an interface that stays, when a peer leaves.

    Raises:
        DeviceError: If the kernel refuses, with the remedy; PrivilegeError if we may not.
    """
    unwanted = set(routes)
    with _kernel() as kernel:
        for route in _read_routes(kernel, _read_links(kernel)):
            if route.destination in unwanted and route.interface == name and route.protocol == ROUTE_PROTOCOL:
                with _explained(f"The route to {route.destination} can't be removed from {name}"):
                    _delete_route(kernel, route)


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Link:
    name: str
    kind: str
    is_running: bool


def _read_links(kernel: _Kernel) -> dict[int, _Link]:
    return {
        message["index"]: _Link(
            name=message.get_attr("IFLA_IFNAME") or "",
            kind=message.get(("linkinfo", "kind")) or "",
            is_running=message["flags"] & _IFF_UP_AND_RUNNING == _IFF_UP_AND_RUNNING,
        )
        for message in kernel.get_links()
    }


def _read_addresses(kernel: _Kernel, links: dict[int, _Link]) -> list[LocalAddress]:
    # an interface that came after the links were read is left for the next time
    return [_read_address(each, links[each["index"]]) for each in kernel.get_addr() if each["index"] in links]


def _read_address(message: _Message, link: _Link) -> LocalAddress:
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    address = ip_address(text)
    flags = AddressFlag.NONE
    if address.version == 6:
        bits = message.get_attr("IFA_FLAGS") or message["flags"]
        # IPv4 uses the bits otherwise: what is TEMPORARY here means "secondary" there
        flags = AddressFlag(bits & sum(flag.value for flag in AddressFlag))
        if address.is_link_local:
            address = IPv6Address(f"{text}%{link.name}")
    return LocalAddress(address, message["prefixlen"], link.name, message["index"], link.kind, link.is_running, flags)


def _read_routes(kernel: _Kernel, links: dict[int, _Link]) -> list[Route]:
    found = []
    for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 (a prefix, no bind)
        for message in kernel.get_routes(family=family, table=_MAIN_TABLE):
            destination = ip_network(f"{message.get_attr('RTA_DST') or everywhere}/{message['dst_len']}")
            if message["type"] == _UNICAST:
                metric = message.get_attr("RTA_PRIORITY") or 0
                found += [
                    Route(destination, links[index].name, index, metric, message["proto"])
                    for index in _outgoing(message)
                    if index in links
                ]
    return found


def _outgoing(message: _Message) -> list[int]:
    """List the interfaces of a route: one, or those of its next hops where traffic is spread over several."""
    index = message.get_attr("RTA_OIF")
    hops = message.get_attr("RTA_MULTIPATH") or ()
    return [index] if index is not None else [hop["oif"] for hop in hops]


# -- checking ---------------------------------------------------------------------------------------------------------


def _check_address(address: IPInterface, others: Iterable[LocalAddress]) -> None:
    for other in others:
        if other.address == address.ip:
            raise DeviceError(
                f"The address {address.ip} is already in use on {other.interface}.",
                f"Choose another with --address, or remove it there: ip address del {address.ip}/{other.prefix} "
                f"dev {other.interface}",
            )
        if other.network.overlaps(address.network):
            raise DeviceError(
                f"The network {address.network} overlaps with {other.network} on {other.interface}.",
                f"Choose an address outside of {other.network} with --address.",
            )


def _check_route(destination: IPNetwork, foreign: Iterable[Route]) -> None:
    for route in foreign:
        if route.destination == destination:
            raise DeviceError(
                f"A route to {destination} already leads to {route.interface}.",
                f"Offer a smaller network, or remove that route: ip route del {destination} dev {route.interface}",
            )


# -- changing ---------------------------------------------------------------------------------------------------------


def _set_up(kernel: _Kernel, index: int, mtu: int) -> None:
    if supports_ipv6():
        mode = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _NO_LINK_LOCAL)]})]}
        kernel.link("set", index=index, IFLA_AF_SPEC=mode)
    with _explained(f"The MTU {mtu} is refused", "Choose one between 68 and 65535 with --mtu."):
        kernel.link("set", index=index, mtu=mtu, txqlen=QUEUE_LENGTH, state="up")


def _add_address(kernel: _Kernel, index: int, address: IPInterface) -> None:
    flags = _NO_DUPLICATE_DETECTION if address.version == 6 else 0
    prefix = address.network.prefixlen
    kernel.addr("add", index=index, address=str(address.ip), prefixlen=prefix, family=_family(address), flags=flags)


def _add_route(kernel: _Kernel, index: int, destination: IPNetwork) -> None:
    kernel.route("add", dst=str(destination), oif=index, family=_family(destination), proto=ROUTE_PROTOCOL)


def _delete_route(kernel: _Kernel, route: Route) -> None:
    destination = route.destination
    kernel.route("del", dst=str(destination), oif=route.index, family=_family(destination), proto=ROUTE_PROTOCOL)


def _family(address: IPAddress | IPNetwork | IPInterface) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _index_of(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise DeviceError(f"There is no interface {name}.", "List those there are: ip -br link") from error


# -- errors -----------------------------------------------------------------------------------------------------------


def _netlink_error() -> type[Exception]:
    from pyroute2 import NetlinkError

    error: type[Exception] = NetlinkError
    return error


@contextmanager
def _kernel() -> Iterator[_Kernel]:
    from pyroute2 import IPRoute

    with _explained("The kernel refused a netlink request"), IPRoute() as kernel:
        yield kernel


@contextmanager
def _explained(what: str, remedy: str = "") -> Iterator[None]:
    """Turn an error of the kernel into one sentence that begins with `what`."""
    try:
        yield
    except P2ptunError:
        raise
    except (_netlink_error(), OSError) as error:
        if _errno(error) == errno.EPERM:
            raise PrivilegeError(f"{what}: this needs CAP_NET_ADMIN.", PRIVILEGE_REMEDY) from error
        raise DeviceError(f"{what}: {os.strerror(_errno(error))}.", remedy) from error


def _errno(error: Exception) -> int:
    """Return the errno of an OSError, or of pyroute2's NetlinkError, which calls it code."""
    return getattr(error, "code", None) or getattr(error, "errno", None) or 0
