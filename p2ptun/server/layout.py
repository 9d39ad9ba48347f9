"""Where a server listens: addresses that stand for several, and the four sockets that RFC 5780 wants.

A NAT's behaviour shows when one server answers from two addresses and two ports each::

    address 1, port 1       the one that clients know; its OTHER-ADDRESS is address 2, port 2
    address 1, port 2       CHANGE-REQUEST: other port
    address 2, port 1       other address
    address 2, port 2       both
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from p2ptun.types import Endpoint, IPAddress

LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Place:
    """One address and port to listen on, and the one that differs in both (RFC 5780 7.4)."""

    local: Endpoint
    alternate: Endpoint | None = None


def expand(endpoints: Iterable[Endpoint], own_addresses: Iterable[IPAddress]) -> list[Endpoint]:
    """Put every address of the machine in place of an unspecified one, each endpoint once.

    One socket for all addresses would answer from another one than it was asked at.
    """
    own = sorted(set(own_addresses), key=lambda address: (address.version, int(address)))
    found: dict[Endpoint, None] = {}
    for endpoint in endpoints:
        if endpoint.address.is_unspecified:
            mine = [each for each in own if each.version == endpoint.address.version and not _is_link_local(each)]
            found.update(dict.fromkeys(replace(endpoint, address=address) for address in mine))
        else:
            found[endpoint] = None
    return list(found)


def lay_out(endpoints: Sequence[Endpoint], own_addresses: Iterable[IPAddress]) -> list[Place]:
    """Plan the sockets: two addresses of one IP version, named as such, make four.

    The two ports are those that were named; where both are the same, the next port is the second.
    """
    places: dict[Endpoint, Place] = {}
    for version in (4, 6):
        named = [each for each in endpoints if each.address.version == version]
        for place in _square(named) or [Place(each) for each in expand(named, own_addresses)]:
            places[place.local] = place
    return list(places.values())


def _square(named: Sequence[Endpoint]) -> list[Place]:
    if len(named) != 2 or named[0].address == named[1].address or any(each.address.is_unspecified for each in named):
        return []
    one, two = named
    if one.port == two.port:
        two = replace(two, port=one.port + 1 if one.port < LAST_PORT else one.port - 1)
    one_b, two_a = replace(one, port=two.port), replace(two, port=one.port)
    return [Place(one, two), Place(two_a, one_b), Place(one_b, two_a), Place(two, one)]


def _is_link_local(address: IPAddress) -> bool:
    return isinstance(address, IPv6Address) and address.is_link_local
