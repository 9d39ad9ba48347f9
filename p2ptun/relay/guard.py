"""Which peers the relay may reach: nobody gets through it to what he couldn't reach himself.

An address that stands for another (IPv4-mapped or -compatible, NAT64, 6to4, Teredo) is judged as both. Documentation
addresses are like any other; laboratories use them.
"""

from __future__ import annotations

from collections.abc import Container
from ipaddress import IPv4Address, ip_network
from typing import Final

from p2ptun.relay.config import ServerConfig
from p2ptun.types import Endpoint, IPAddress, IPNetwork, Transport, embedded_ipv4, unmapped, without_zone

REFUSED: Final[tuple[IPNetwork, ...]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network, RFC 1122 3.2.1.3
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # behind a carrier's NAT, RFC 6598; a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's metadata that isn't link-local
        "169.254.0.0/16",  # link-local, RFC 3927; most clouds' metadata at 169.254.169.254
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, RFC 6890 2.1
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
        "2001:2::/48",  # benchmarks, RFC 5180
        "2001:10::/28",  # identifiers, no addresses: RFC 4843
        "2001:20::/28",  # likewise, RFC 7343
    )
)

UNICAST: Final[tuple[IPNetwork, ...]] = tuple(ip_network(text) for text in ("2000::/3", "64:ff9b::/96"))
"""All IPv6 that isn't refused as a whole: global unicast (RFC 4291 2.4) and NAT64 (RFC 6052). So loopback, unique
local, link-local, site-local, multicast, discard-only, local NAT64 and compatible addresses are outside."""


class Guard:
    """Judges peers. Its own sockets are told by `add_listener`; who is relayed to right now, by `live`."""

    __slots__ = ("_allowed", "_listeners", "_machine", "_own", "_ports", "_refused", "_relays", "_wildcard_ports")

    def __init__(self, config: ServerConfig) -> None:
        self._allowed = config.allowed_peers
        self._refused = config.refused_peers
        self._relays = frozenset(config.relay_addresses)
        self._ports = range(config.lowest_port, config.highest_port + 1)
        self._machine = config.own_addresses
        self._own = set(self._machine | self._relays)
        self._listeners: set[Endpoint] = set()
        self._wildcard_ports: set[int] = set()

    def set_machine(self, addresses: frozenset[IPAddress]) -> None:
        """Know the addresses of this machine anew. Those of relays and listeners stay, also while they are away."""
        self._own -= self._machine - self._relays - {local.address for local in self._listeners}
        self._machine = addresses
        self._own |= addresses

    def add_listener(self, local: Endpoint) -> None:
        """Keep everybody from a listener of ours, whatever else is allowed."""
        self._own.add(local.address)
        if local.transport is not Transport.UDP:
            return  # relays speak UDP only
        if local.address.is_unspecified:
            self._wildcard_ports.add(local.port)
        else:
            self._listeners.add(local)

    def allows_address(self, address: IPAddress) -> bool:
        """Tell whether a permission for `address` can be given; ports are another question, see `allows_port`.

        A relay address of ours can have one: two clients of one server reach each other like any two.
        """
        address = without_zone(unmapped(address))
        if self._lies_in(address, self._refused):
            return False
        if address in self._relays:
            return True
        inside = embedded_ipv4(address.packed)
        forms: tuple[IPAddress, ...] = (address,) if inside is None else (address, IPv4Address(inside))
        return all(self._allows_form(form) for form in forms)

    def allows_port(self, peer: Endpoint, live: Container[Endpoint]) -> bool:
        """Tell whether this port of an allowed address may be reached.

        On our own addresses only what is in `live`, the relayed addresses in use, and where `allowed_peers` names the
        address any other port but the listeners'.
        """
        is_free = peer.address not in self._own or peer in live or self._lies_in(peer.address, self._allowed)
        return is_free and peer.port != 0 and not self._is_listener(peer)

    def may_be_heard(self, peer: Endpoint, live: Container[Endpoint]) -> bool:
        """Tell whether what comes from this port of an allowed address may be passed on.

        From a relayed address that is no more in use, too: a client's goodbye is on its way when it gives that back.
        """
        is_relays = peer.address in self._relays and peer.port in self._ports and not self._is_listener(peer)
        return is_relays or self.allows_port(peer, live)

    def _is_listener(self, peer: Endpoint) -> bool:
        return peer in self._listeners or (peer.address in self._own and peer.port in self._wildcard_ports)

    def allows(self, peer: Endpoint, live: Container[Endpoint]) -> bool:
        """Tell whether `peer` may be reached."""
        return self.allows_address(peer.address) and self.allows_port(peer, live)

    def _allows_form(self, form: IPAddress) -> bool:
        if self._lies_in(form, self._refused):
            return False
        if self._lies_in(form, self._allowed):
            return True
        if form in self._own or self._lies_in(form, REFUSED):
            return False
        return form.version == 4 or self._lies_in(form, UNICAST)

    @staticmethod
    def _lies_in(address: IPAddress, networks: tuple[IPNetwork, ...]) -> bool:
        return any(address.version == network.version and address in network for network in networks)
