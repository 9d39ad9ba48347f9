"""Addresses, routes and interfaces of this machine, through netlink (pyroute2).

Every function opens a netlink socket, does its work in one go and closes it. They block for a few milliseconds (more on
a machine with full Internet routes), so code inside trio calls them by `trio.to_thread.run_sync`. Calling them straight
from a trio task works too (pyroute2 runs an event loop of its own for the length of the call, and trio's isn't
asyncio's), which is what clean-up code under a cancelled scope does.

pyroute2 is imported on first use: it costs 0.1 s and some megabytes that `p2ptun genkey` needn't pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from p2ptun.errors import DeviceError
from p2ptun.io.address import LocalAddress, choose_candidates
from p2ptun.io.kernel import (
    Kernel,
    Route,
    explained,
    family_of,
    index_of,
    open_kernel,
    read_addresses,
    read_links,
    read_routes,
)
from p2ptun.io.link import tunnels
from p2ptun.io.network import DefaultRoute, Network
from p2ptun.types import IPInterface, IPNetwork

ROUTE_PROTOCOL = 112
"""The origin that our routes carry (`ip route show proto 112`): what isn't tagged with it is never removed by us."""

QUEUE_LENGTH = 1000
"""Packets that wait in the TUN's queue: a burst of TCP at 1 Gb/s for 12 ms, the time of one busy turn of our loop."""

MIN_IPV6_MTU = 1280  # RFC 8200 5

_REMEDIES = {
    4: "Choose another with --address.",
    6: "If IPv6 is switched off here (sysctl net.ipv6.conf.all.disable_ipv6), give only IPv4 addresses with --address.",
}

_CATCH_ALL_PREFIX = {4: 8, 6: 16}
"""Routes this wide say where to send what nobody else claims: a /31 inside 10.0.0.0/8 takes two addresses out of it."""

_NO_DUPLICATE_DETECTION = 0x02  # IFA_F_NODAD
_NO_LINK_LOCAL = 1  # IN6_ADDR_GEN_MODE_NONE
_IPV6_SWITCH = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")


def list_addresses() -> list[LocalAddress]:
    """List every address of every interface. Raises DeviceError."""
    with open_kernel() as kernel:
        return read_addresses(kernel, read_links(kernel))


def read_network() -> Network:
    """Read what sockets and paths depend on (candidates: `choose_candidates`). Raises DeviceError."""
    with open_kernel() as kernel:
        links = read_links(kernel)
        defaults = [route for route in read_routes(kernel, links) if route.destination.prefixlen == 0]
        addresses = read_addresses(kernel, links)
    through = tunnels(links)
    uplinks = [route for route in sorted(defaults, key=lambda route: route.metric) if route.index not in through]
    return Network(
        candidates=tuple(choose_candidates(addresses, list(dict.fromkeys(route.index for route in uplinks)))),
        present=tuple(each for each in addresses if each.can_carry),
        default_routes=tuple(
            DefaultRoute(route.destination.version, route.interface, route.index, route.gateway) for route in uplinks
        ),
        tunnel_networks=_tunnel_networks(addresses),
        links={index: index in through for index in links},
    )


def existing_networks() -> list[IPNetwork]:
    """List the networks in use here: on the link of some interface, or behind a route of the main table.

    Tunnel addresses taken from one of them would hide its machines from this one. Default routes and other very wide
    ones are left out, or no private address would ever be free on a machine with a company VPN.

    Raises:
        DeviceError: If the kernel doesn't say.
    """
    with open_kernel() as kernel:
        links = read_links(kernel)
        on_link = {each.network for each in read_addresses(kernel, links) if not each.address.is_link_local}
        routed = {
            route.destination
            for route in read_routes(kernel, links)
            if route.destination.prefixlen > _CATCH_ALL_PREFIX[route.destination.version]
        }
    found = [each for each in on_link | routed if not (each.is_loopback or each.is_link_local or each.is_multicast)]
    return sorted(found, key=lambda each: (each.version, int(each.network_address), each.prefixlen))


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
    with open_kernel() as kernel:
        index = index_of(name)
        links = read_links(kernel)
        others = [each for each in read_addresses(kernel, links) if each.index != index]
        foreign = [route for route in read_routes(kernel, links) if route.index != index]
        for address in addresses:
            _check_address(address, others)
        for destination in routes:
            _check_route(destination, foreign)
        _set_up(kernel, index, mtu)
        for address in addresses:
            with explained(f"The address {address} can't be set on {name}", _REMEDIES[address.version]):
                _add_address(kernel, index, address)
        connected = {address.network for address in addresses}
        for destination in dict.fromkeys(routes):
            if destination not in connected:
                with explained(f"The route to {destination} can't lead into {name}"):
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
    with open_kernel() as kernel:
        present = read_addresses(kernel, read_links(kernel))
    for address in addresses:
        _check_address(address, present)


def list_routes() -> list[Route]:
    """List the unicast routes of the main table, IPv4 first. Raises DeviceError."""
    with open_kernel() as kernel:
        return read_routes(kernel, read_links(kernel))


def add_routes(name: str, routes: Iterable[IPNetwork]) -> None:
    """Lead more networks into a configured interface. One that already leads there is no error.

    Raises:
        DeviceError: If the kernel refuses, with the remedy; PrivilegeError if we may not.
    """
    with open_kernel() as kernel:
        index = index_of(name)
        present = read_routes(kernel, read_links(kernel))
        own = {route.destination for route in present if route.index == index}
        wanted = [destination for destination in dict.fromkeys(routes) if destination not in own]
        for destination in wanted:
            _check_route(destination, [route for route in present if route.index != index])
        for destination in wanted:
            with explained(f"The route to {destination} can't lead into {name}"):
                _add_route(kernel, index, destination)


def remove_routes(name: str, routes: Iterable[IPNetwork]) -> None:
    """Take routes out of the interface again, ours only (by ROUTE_PROTOCOL). Missing ones are no error.

    Closing the TUN removes them anyway: this is for an interface that stays, when a peer leaves.

    Raises:
        DeviceError: If the kernel refuses, with the remedy; PrivilegeError if we may not.
    """
    unwanted = set(routes)
    with open_kernel() as kernel:
        for route in read_routes(kernel, read_links(kernel)):
            if route.destination in unwanted and route.interface == name and route.protocol == ROUTE_PROTOCOL:
                with explained(f"The route to {route.destination} can't be removed from {name}"):
                    _delete_route(kernel, route)


# -- sorting ----------------------------------------------------------------------------------------------------------


def _tunnel_networks(addresses: Sequence[LocalAddress]) -> tuple[IPNetwork, ...]:
    """List the networks on the links of tunnels that have no address in common with one on a link of another kind."""
    others = [each.network for each in addresses if not each.is_tunnel and not each.address.is_link_local]
    inside = dict.fromkeys(each.network for each in addresses if each.is_tunnel and not each.address.is_link_local)
    return tuple(each for each in inside if not any(_overlap(each, other) for other in others))


def _overlap(network: IPNetwork, other: IPNetwork) -> bool:
    return network.version == other.version and network.overlaps(other)


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


def _set_up(kernel: Kernel, index: int, mtu: int) -> None:
    if supports_ipv6():
        mode = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _NO_LINK_LOCAL)]})]}
        kernel.link("set", index=index, IFLA_AF_SPEC=mode)
    with explained(f"The MTU {mtu} is refused", "Choose one between 68 and 65535 with --mtu."):
        kernel.link("set", index=index, mtu=mtu, txqlen=QUEUE_LENGTH, state="up")


def _add_address(kernel: Kernel, index: int, address: IPInterface) -> None:
    flags = _NO_DUPLICATE_DETECTION if address.version == 6 else 0
    prefix = address.network.prefixlen
    kernel.addr("add", index=index, address=str(address.ip), prefixlen=prefix, family=family_of(address), flags=flags)


def _add_route(kernel: Kernel, index: int, destination: IPNetwork) -> None:
    kernel.route("add", dst=str(destination), oif=index, family=family_of(destination), proto=ROUTE_PROTOCOL)


def _delete_route(kernel: Kernel, route: Route) -> None:
    destination = route.destination
    kernel.route("del", dst=str(destination), oif=route.index, family=family_of(destination), proto=ROUTE_PROTOCOL)
