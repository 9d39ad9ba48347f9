"""Where things are in a laboratory: the addresses of servers, sites and home networks, and what is plugged in where.

::

    203.0.113.0/24, 2001:db8::/48      servers, each in a /28 and a /64 of its own: .1 is the core's end, .2 and .3 are
                                       the server's
    198.51.100.0/24, 2001:db8:1::/48   sites, likewise: hosts on the net, and the outer ends of routers
    192.168.N.0/24, 2001:db8:2:N::/64  behind the router with number N; .1 is the router's
    100.64.N.0/24                      the same behind a carrier's router
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from tests.e2e.nat import Nat
from tests.e2e.usernat import UserNat

SERVERS_V4 = IPv4Network("203.0.113.0/24")
SITES_V4 = IPv4Network("198.51.100.0/24")
SERVERS_V6 = IPv6Network("2001:db8::/48")
SITES_V6 = IPv6Network("2001:db8:1::/48")
LANS_V6 = IPv6Network("2001:db8:2::/48")
ANY_V6 = IPv6Address(0)


@dataclass(frozen=True, slots=True)
class Node:
    """One namespace with one uplink. `device` is its end of the link, `peer_device` the end in namespace `upstream`.

    A server has a second address of each family, as RFC 5780 wants: `alternates`.
    """

    name: str
    namespace: str
    device: str
    upstream: str
    peer_device: str
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None
    alternates: tuple[IPv4Address | IPv6Address, ...] = ()


@dataclass(slots=True)
class Router:
    """A node with a network behind it; `hosts` counts those who live there.

    `nat` is what it does to packets, and `udp` the process that translates UDP for it, where the kernel doesn't.
    """

    node: Node
    nat: Nat
    lan_v4: IPv4Network
    lan_v6: IPv6Network | None
    udp: UserNat | None = None
    hosts: itertools.count[int] = field(default_factory=lambda: itertools.count(10))


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a new node is plugged in: the upstream's namespace and bridge, its gateways, the node's own addresses."""

    namespace: str
    bridge: str
    ipv4: IPv4Interface | None
    ipv6: IPv6Interface | None
    gateway_v4: IPv4Address
    gateway_v6: IPv6Address
    alternates: tuple[IPv4Interface | IPv6Interface, ...] = ()

    def near(self, device: str) -> str:
        """Write the commands that set the node's own addresses and its way out."""
        script = f"ip link set {device} up\n"
        pairs: list[tuple[IPv4Interface | IPv6Interface | None, IPv4Address | IPv6Address]]
        pairs = [(self.ipv4, self.gateway_v4), (self.ipv6, self.gateway_v6)]
        for own, gateway in pairs:
            if own is not None:
                script += set_address(device, own.ip, own.network.prefixlen)
                script += f"ip -{own.version} route add default via {gateway}\n"
        return script + "".join(set_address(device, own.ip, own.network.prefixlen) for own in self.alternates)

    def far(self, device: str) -> str:
        """Write the commands that set up the upstream's end of the link."""
        script = f"ip link set {device} up\n"
        if self.bridge:
            return script + f"ip link set {device} master {self.bridge}\n"
        if self.ipv4 is not None:
            script += set_address(device, self.gateway_v4, self.ipv4.network.prefixlen)
        if self.ipv6 is not None:
            script += set_address(device, self.gateway_v6, self.ipv6.network.prefixlen)
        return script


class Plan:
    """Deals out the networks of servers and sites on the net, and those behind routers."""

    def __init__(self) -> None:
        self._servers = itertools.count()
        self._sites = itertools.count()
        self._routers = itertools.count(1)

    def server(self, core: str, ipv6: bool) -> Attachment:
        """Take the next place for a server."""
        return _on_the_net(core, next(self._servers), SERVERS_V4, SERVERS_V6, (True, ipv6), has_alternates=True)

    def site(self, core: str, ipv4: bool, ipv6: bool) -> Attachment:
        """Take the next place for a host or a router on the net."""
        return _on_the_net(core, next(self._sites), SITES_V4, SITES_V6, (ipv4, ipv6), has_alternates=False)

    def lan(self, ipv6: bool, is_carrier: bool) -> tuple[IPv4Network, IPv6Network | None]:
        """Take the next networks behind a router."""
        number = next(self._routers)
        net4 = IPv4Network(f"{'100.64' if is_carrier else '192.168'}.{number}.0/24")
        return net4, IPv6Network((int(LANS_V6[0]) + (number << 64), 64)) if ipv6 else None


def behind(router: Router, ipv4: bool, ipv6: bool) -> Attachment:
    """Take the next addresses of a router's network; .1 is the router's."""
    number = next(router.hosts)
    lan6 = router.lan_v6
    return Attachment(
        namespace=router.node.namespace,
        bridge="lan",
        ipv4=IPv4Interface((router.lan_v4[number], 24)) if ipv4 else None,
        ipv6=IPv6Interface((lan6[number], 64)) if ipv6 and lan6 is not None else None,
        gateway_v4=router.lan_v4[1],
        gateway_v6=ANY_V6 if lan6 is None else lan6[1],
    )


def _on_the_net(
    core: str, number: int, all_v4: IPv4Network, all_v6: IPv6Network, families: tuple[bool, bool], has_alternates: bool
) -> Attachment:
    """Take a /28 and a /64 of a range: .1 is the core's, .2 the node's, .3 its second one."""
    net4 = IPv4Network((int(all_v4[0]) + 16 * number, 28))
    net6 = IPv6Network((int(all_v6[0]) + (number << 64), 64))
    own4, own6 = IPv4Interface((net4[2], 28)), IPv6Interface((net6[2], 64))
    second4, second6 = IPv4Interface((net4[3], 28)), IPv6Interface((net6[3], 64))
    ipv4, ipv6 = families
    return Attachment(
        namespace=core,
        bridge="",
        ipv4=own4 if ipv4 else None,
        ipv6=own6 if ipv6 else None,
        gateway_v4=net4[1],
        gateway_v6=net6[1],
        alternates=(second4, *((second6,) if ipv6 else ())) if has_alternates else (),
    )


def set_address(device: str, address: IPv4Address | IPv6Address, length: int) -> str:
    """Write the command that sets an address; IPv6 without duplicate detection, so that it is usable at once."""
    return f"ip address add {address}/{length} dev {device}{' nodad' if address.version == 6 else ''}\n"


def ends(place: Node | Router) -> tuple[tuple[str, str], tuple[str, str]]:
    """Name both ends of an uplink: namespace and device."""
    node = place.node if isinstance(place, Router) else place
    return (node.namespace, node.device), (node.upstream, node.peer_device)
