"""What two descriptions come to: the addresses on either end, and what may be routed between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from p2ptun.errors import RendezvousError
from p2ptun.signal.address import tunnel_addresses
from p2ptun.signal.description import Description, Kind
from p2ptun.types import IPInterface, IPNetwork


@dataclass(frozen=True, slots=True)
class Agreement:
    """The inner side of an ad hoc tunnel.

    Attributes:
        own: Addresses of this side.
        peer: Addresses of the other side.
        routes: What leads into the interface besides the networks of `own`.
        allowed_ips: What the other side may send from, and what is sent to it.
        refused: Networks that the other side offered and that aren't routed to it.
    """

    own: tuple[IPInterface, ...]
    peer: tuple[IPInterface, ...]
    routes: tuple[IPNetwork, ...]
    allowed_ips: tuple[IPNetwork, ...]
    refused: tuple[IPNetwork, ...]


def agree(kind: Kind, offer: Description, answer: Description, used: Iterable[IPNetwork], has_ipv6: bool) -> Agreement:
    """Work out the agreement for the side that sent the offer or the answer; both come to matching ones.

    `used` are the networks in use on this machine: an offered network that overlaps one of them is refused, as is a
    default route, for the other side has been let into a tunnel, not put in charge of this machine's routing.

    Raises:
        RendezvousError: If the two sides have an address in common, or none at all.
    """
    other = Kind.ANSWER if kind is Kind.OFFER else Kind.OFFER
    own = tunnel_addresses(kind, offer, answer)
    if not has_ipv6:
        own = tuple(address for address in own if address.version == 4)
    peer = tunnel_addresses(other, offer, answer)
    _check_addresses(own, peer)
    theirs = answer if kind is Kind.OFFER else offer
    in_use = list(used)
    refused = tuple(network for network in theirs.routes if _is_refused(network, in_use))
    offered = [network for network in theirs.routes if network not in refused]
    hosts = [ip_network(address.ip) for address in peer]
    on_link = [address.network for address in own]
    routes = [host for host in hosts if not overlaps(host, on_link)]
    return Agreement(own, peer, _reachable(routes + offered, has_ipv6), tuple(hosts + offered), refused)


def overlaps(network: IPNetwork, others: Iterable[IPNetwork]) -> bool:
    """Tell whether `network` has an address in common with one of `others`."""
    return any(network.version == other.version and network.overlaps(other) for other in others)


def _check_addresses(own: Iterable[IPInterface], peer: Iterable[IPInterface]) -> None:
    common = {address.ip for address in own} & {address.ip for address in peer}
    if common:
        raise RendezvousError(
            f"Both sides want the address {min(map(str, common))} in the tunnel.", "Give one of them another --address."
        )
    if not own or not peer:
        raise RendezvousError(
            "There is no address for the tunnel that is free on both sides.",
            "Name one on each side with --address, such as 172.31.9.1/30 here and 172.31.9.2/30 there.",
        )


def _is_refused(network: IPNetwork, used: Iterable[IPNetwork]) -> bool:
    """Tell whether routing `network` to the other side would take this machine's own traffic."""
    if network.prefixlen == 0 or network.is_loopback or network.is_multicast or network.is_link_local:
        return True
    return overlaps(network, used)


def _reachable(routes: list[IPNetwork], has_ipv6: bool) -> tuple[IPNetwork, ...]:
    return tuple(route for route in dict.fromkeys(routes) if has_ipv6 or route.version == 4)
