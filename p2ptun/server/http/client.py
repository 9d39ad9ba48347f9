"""Whose request it is: the other end of the connection, or whom a proxy that we trust names (RFC 7239).

Anybody can write the headers of proxies, so they are read only when the connection comes from a trusted proxy, and only
from their end: each proxy adds, at the right, whom it was talking to. The first name from the right that is no trusted
proxy itself is the client. What is left of it, the client may have made up.

A proxy writes either X-Forwarded-For or Forwarded, and passes on the other as it came. Where there are both and they
disagree, one was made up, and nobody can say which: the request counts as the proxy's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from itertools import islice
from typing import Final

from p2ptun.types import IPAddress, IPNetwork, unmapped, without_zone

MOST_HOPS: Final = 16
"""Proxies between a client and us. What is further left isn't looked at."""

Headers = Iterable[tuple[bytes, bytes]]

_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?", re.ASCII)
_FOR: Final = re.compile(r'for="?([^",;]*)"?', re.IGNORECASE)


class ClientFinder:
    """Finds who asks, knowing the proxies to be trusted."""

    def __init__(self, trusted: Sequence[IPNetwork]) -> None:
        self._trusted = tuple(trusted)

    def is_trusted(self, address: IPAddress) -> bool:
        """Tell whether an address is that of a proxy of ours."""
        return any(address in network for network in self._trusted if network.version == address.version)

    def find(self, peer: IPAddress, headers: Headers) -> IPAddress:
        """Return the client's address; `peer` is the other end of the connection."""
        peer = unmapped(without_zone(peer))
        if not self.is_trusted(peer):
            return peer
        listed, written = _values(headers, b"x-forwarded-for"), _values(headers, b"forwarded")
        found = []
        if listed:
            found.append(self._client(peer, (_node(each) for each in reversed(listed))))
        if written:
            found.append(self._client(peer, (_forwarded(each) for each in reversed(written))))
        if not found or len(set(found)) > 1:
            return peer
        return found[0]

    def _client(self, peer: IPAddress, hops: Iterable[IPAddress | None]) -> IPAddress:
        """Walk from the right to the first that isn't trusted; who names nobody is as far as we can see."""
        client = peer
        for hop in islice(hops, MOST_HOPS):
            if hop is None:
                break
            client = hop
            if not self.is_trusted(hop):
                break
        return client


def _values(headers: Headers, name: bytes) -> list[str]:
    """Split all headers of a name at their commas, as if they were one (RFC 9110 5.3)."""
    found = [value.decode("latin-1") for key, value in headers if key.lower() == name]
    return [each.strip() for value in found for each in value.split(",")]


def _forwarded(element: str) -> IPAddress | None:
    """Read the `for` of one element (RFC 7239 4)."""
    nodes = [match[1] for pair in element.split(";") if (match := _FOR.fullmatch(pair.strip()))]
    return _node(nodes[0]) if len(nodes) == 1 else None


def _node(text: str) -> IPAddress | None:
    """Read an address, with or without a port (RFC 7239 6). Names that hide one, and nonsense, are None."""
    match = _NODE.fullmatch(text)
    host = (match[1] or match[2]) if match else text
    try:
        return unmapped(without_zone(ip_address(host)))
    except ValueError:
        return None
