"""What two descriptions come to: the addresses on either end, and what may be routed between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from p2ptun.errors import RendezvousError
from p2ptun.signal.address import tunnel_addresses
from p2ptun.signal.description import Description, Kind
from p2ptun.stun.trust import PRIVATE_NETWORKS
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
        offered: Those that are.
    """

    own: tuple[IPInterface, ...]
    peer: tuple[IPInterface, ...]
    routes: tuple[IPNetwork, ...]
    allowed_ips: tuple[IPNetwork, ...]
    refused: tuple[IPNetwork, ...]
    offered: tuple[IPNetwork, ...]


def agree(kind: Kind, offer: Description, answer: Description, used: Iterable[IPNetwork], has_ipv6: bool) -> Agreement:
    """Work out the agreement for the side that sent the offer or the answer; both come to matching ones.

    The other side has been let into a tunnel, not put in charge of this machine's routing. So what it claims has to be
    private and to overlap none of the networks `used` on this machine. An offered network that doesn't is refused and
    the rest goes on; an address that doesn't ends it, but for one in the network that this side has in the tunnel.

    Raises:
        RendezvousError: If the two sides have an address in common, or none at all, or the other side wants one that it
            may not have.
    """
    other = Kind.ANSWER if kind is Kind.OFFER else Kind.OFFER
    own = tunnel_addresses(kind, offer, answer)
    if not has_ipv6:
        own = tuple(address for address in own if address.version == 4)
    peer = tunnel_addresses(other, offer, answer)
    _check_addresses(own, peer)
    theirs = answer if kind is Kind.OFFER else offer
    hosts = [ip_network(address.ip) for address in peer]
    on_link = [address.network for address in own]
    in_use = [network for network in used if not is_catch_all(network)]
    for host in hosts:
        _check_claim(host, on_link, in_use)
    in_use += [ip_network(address.ip) for address in own]
    refused = tuple(network for network in theirs.routes if _is_refused(network, in_use))
    offered = [network for network in theirs.routes if network not in refused]
    routes = [host for host in hosts if not overlaps(host, on_link)]
    return Agreement(own, peer, _reachable(routes + offered, has_ipv6), tuple(hosts + offered), refused, tuple(offered))


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


def _check_claim(host: IPNetwork, on_link: Iterable[IPNetwork], used: Iterable[IPNetwork]) -> None:
    """Raise RendezvousError unless the other side may have this address in the tunnel."""
    if overlaps(host, on_link) or not _is_refused(host, used):
        return
    why = "in use on this machine" if is_private(host) else "no private address"
    raise RendezvousError(
        f"The other side wants the address {host.network_address} in the tunnel, which is {why}.",
        "Let it choose another one with --address, such as 172.31.9.2/30, and 172.31.9.1/30 on this side.",
    )


def _is_refused(network: IPNetwork, used: Iterable[IPNetwork]) -> bool:
    """Tell whether leading `network` to the other side would take somebody else's traffic, or this machine's own."""
    return not is_private(network) or overlaps(network, used)


def is_private(network: IPNetwork) -> bool:
    """Tell whether a network may lead into an ad hoc tunnel at all.

    Public addresses belong to whoever they belong to: a side that could claim some would be handed the traffic to
    somebody's name server, or bit by bit all traffic.
    """
    return any(is_inside(network, wide) for wide in PRIVATE_NETWORKS)


def is_catch_all(network: IPNetwork) -> bool:
    """Recognise a default route, and the halves of one that some VPNs set: they make nothing "in use"."""
    return any(is_inside(private, network) and private != network for private in PRIVATE_NETWORKS)


def is_inside(inner: IPNetwork, outer: IPNetwork) -> bool:
    """Tell whether all of `inner` is in `outer`."""
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.overlaps(outer)


def _reachable(routes: list[IPNetwork], has_ipv6: bool) -> tuple[IPNetwork, ...]:
    return tuple(route for route in dict.fromkeys(routes) if has_ipv6 or route.version == 4)
