"""Addresses in the tunnel, agreed on without a question: both sides derive the same proposals from the session id.

There are 16 networks /31 out of 10.77.0.0/16 (RFC 3021) and one unique local /127 (RFC 4193, RFC 6164). Each side says,
with 16 bits, which of the 16 are free on its machine. The first one free on both is taken: the side that offered has
its lower address, the other one the upper. The IPv6 network is random enough to be free anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from p2ptun.signal.description import Description, Kind
from p2ptun.types import IPInterface, IPNetwork

PROPOSALS = 16
_BASE = int(IPv4Address("10.77.0.0"))
_NETWORKS = 2**15  # of size /31 in a /16


def proposed_networks(session_id: bytes) -> tuple[IPv4Network, ...]:
    """Derive the 16 proposals, all different: an odd stride through the 2^15 networks meets none twice."""
    digest = blake2s(session_id, person=b"p2ptun-4").digest()
    start = int.from_bytes(digest[:2], "big")
    stride = int.from_bytes(digest[2:4], "big") | 1
    places = [(start + number * stride) % _NETWORKS for number in range(PROPOSALS)]
    return tuple(IPv4Network((_BASE + 2 * place, 31)) for place in places)


def unique_local_network(session_id: bytes) -> IPv6Network:
    """Derive the /127: fd, 40 bits of global id, 16 of subnet, and interface ids 2 and 3 (RFC 4193 3.1).

    RFC 6164 5.1 advises against ids 0 and 1: 0 is the subnet-router anycast address of a /64.
    """
    prefix = b"\xfd" + blake2s(session_id, person=b"p2ptun-6").digest()[:7]
    return IPv6Network((int.from_bytes(prefix + bytes(8), "big") + 2, 127))


def bid(session_id: bytes, used: Iterable[IPNetwork]) -> int:
    """Say which proposals overlap none of the networks in use on this machine: bit n for proposal n."""
    taken = [network for network in used if isinstance(network, IPv4Network)]
    free = [not any(proposal.overlaps(network) for network in taken) for proposal in proposed_networks(session_id)]
    return sum(is_free << number for number, is_free in enumerate(free))


def agreed_network(offer: Description, answer: Description) -> IPv4Network | None:
    """Return the first proposal that is free on both sides; None when there is none."""
    both = offer.address_bids & answer.address_bids
    return next(
        (network for number, network in enumerate(proposed_networks(offer.session_id)) if both >> number & 1), None
    )


def tunnel_addresses(kind: Kind, offer: Description, answer: Description) -> tuple[IPInterface, ...]:
    """Return the addresses in the tunnel of the side that sent the offer or the answer.

    They are those it insists on, if it named any; otherwise the agreed ones.
    """
    own, upper = (offer, 0) if kind is Kind.OFFER else (answer, 1)
    if own.addresses:
        return own.addresses
    addresses: list[IPInterface] = []
    network = agreed_network(offer, answer)
    if network is not None:
        addresses.append(IPv4Interface((network.network_address + upper, 31)))
    prefix = unique_local_network(offer.session_id)
    addresses.append(IPv6Interface((IPv6Address(int(prefix.network_address) + upper), 127)))
    return tuple(addresses)
