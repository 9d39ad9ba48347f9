"""Cryptokey routing: which peer an inner address belongs to, both ways."""

from __future__ import annotations

from typing import Generic, TypeVar

from p2ptun.dataplane.packet import is_martian_source, unmapped
from p2ptun.types import IPNetwork, embedded_ipv4

PeerT = TypeVar("PeerT")

MAX_CACHED = 4096
_MAPPED_BITS = 96
_MAPPED_NETWORK = 0xFFFF  # the upper 96 bits of ::ffff:0:0/96


class AllowedIPs(Generic[PeerT]):
    """A longest-prefix table from networks to peers.

    Outgoing, `lookup` of the destination picks the peer. Incoming, `source_owner` of the source must be the peer whose
    keys opened the packet. One network belongs to one peer; inserting it again moves it, as in WireGuard.

    An IPv4-mapped address or network is the IPv4 one; as a source it is refused, for no wire carries it. Other IPv6
    forms that stand for an IPv4 address (6to4, Teredo, NAT64, compatible) stay what they are, for they are routable,
    but as sources they need both: the form itself must belong to the peer, and the IPv4 address in it must not belong
    to another. So nobody speaks as somebody else by spelling the address differently.

    Addresses are 4 or 16 bytes. Both look-ups are cached; a full cache is emptied, so that a peer which makes up
    addresses can't fill the memory.
    """

    def __init__(self) -> None:
        # Per address size in bytes: prefix length -> network's upper bits -> peer; the longest prefixes first.
        self._tables: dict[int, dict[int, dict[int, PeerT]]] = {4: {}, 16: {}}
        self._owners: dict[bytes, PeerT | None] = {}
        self._source_owners: dict[bytes, PeerT | None] = {}

    def insert(self, network: IPNetwork, peer: PeerT) -> None:
        """Give `network` to `peer`."""
        size, length, upper = _normalised(network)
        table = self._tables[size]
        table.setdefault(length, {})[upper] = peer
        self._tables[size] = dict(sorted(table.items(), reverse=True))
        self._forget_cached()

    def remove(self, network: IPNetwork) -> None:
        """Take `network` from whoever has it; harmless when nobody does."""
        size, length, upper = _normalised(network)
        self._tables[size].get(length, {}).pop(upper, None)
        self._forget_cached()

    def remove_peer(self, peer: PeerT) -> None:
        """Take every network from `peer`."""
        for table in self._tables.values():
            for networks in table.values():
                for upper in [upper for upper, owner in networks.items() if owner == peer]:
                    del networks[upper]
        self._forget_cached()

    def lookup(self, address: bytes) -> PeerT | None:
        """Return whom `address` belongs to: the peer with the longest prefix of it."""
        try:
            return self._owners[address]
        except KeyError:
            return _remember(self._owners, address, self._find(unmapped(address)))

    def source_owner(self, address: bytes) -> PeerT | None:
        """Return who may send from `address`; None for one that nobody may."""
        try:
            return self._source_owners[address]
        except KeyError:
            return _remember(self._source_owners, address, self._find_source_owner(address))

    def _find_source_owner(self, address: bytes) -> PeerT | None:
        ipv4 = embedded_ipv4(address)
        if is_martian_source(address) or (ipv4 is not None and is_martian_source(ipv4)):
            return None
        owner = self.lookup(address)
        rival = None if ipv4 is None else self.lookup(ipv4)
        return owner if rival is None or rival == owner else None

    def _find(self, address: bytes) -> PeerT | None:
        bits = len(address) * 8
        number = int.from_bytes(address, "big")
        for length, networks in self._tables[len(address)].items():
            owner = networks.get(number >> (bits - length))
            if owner is not None:
                return owner
        return None

    def _forget_cached(self) -> None:
        self._owners.clear()
        self._source_owners.clear()


def _remember(cache: dict[bytes, PeerT | None], address: bytes, owner: PeerT | None) -> PeerT | None:
    if len(cache) >= MAX_CACHED:
        cache.clear()
    cache[address] = owner
    return owner


def _normalised(network: IPNetwork) -> tuple[int, int, int]:
    """Return address size in bytes, prefix length, and the prefix as a number."""
    bits, length = network.max_prefixlen, network.prefixlen
    upper = int(network.network_address) >> (bits - length)
    if bits == 128 and length >= _MAPPED_BITS and upper >> (length - _MAPPED_BITS) == _MAPPED_NETWORK:
        bits, length = 32, length - _MAPPED_BITS
        upper &= (1 << length) - 1
    return bits // 8, length, upper
