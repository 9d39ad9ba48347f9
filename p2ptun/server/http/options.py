"""What whoever runs a rendezvous server asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.stun.uri import StunUri
from p2ptun.types import Endpoint, IPNetwork


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How much one address may have, and all together. An address is an IPv4 address, or the /56 of an IPv6 one.

    Attributes:
        connections: Connections in all.
        address_connections: Connections of one address.
        address_requests: Requests of one address a minute; a minute's worth at once.
        address_entries: Rooms that one address may open, join or enter a minute; a minute's worth at once. Each that it
            can't join counts for ten.
        address_rooms: Live numbered rooms that one address opened; of named ones, NAMED_SHARE times as many.
    """

    connections: int = 20_000
    address_connections: int = 256
    address_requests: int = 1200
    address_entries: int = 60
    address_rooms: int = 20


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """The options of `p2ptun serve` that are about rooms.

    Attributes:
        listen: Where clients come by HTTP. Addresses may be unspecified: all of this machine then.
        https_listen: Where they come by HTTPS.
        store: Where rooms are kept: `memory`, `sqlite:FILE` or a `redis://` URL.
        trusted_proxies: Whose word we take for who the client is.
        public_name: How clients call this machine; empty when they use its addresses.
        announce: Other STUN and TURN servers to tell clients of.
        secret: What we share with relays; empty without.
        limits: How much of everything.
    """

    listen: tuple[Endpoint, ...]
    https_listen: tuple[Endpoint, ...] = ()
    store: str = field(default="memory", repr=False)  # the URL may hold a password
    trusted_proxies: tuple[IPNetwork, ...] = ()
    public_name: str = ""
    announce: tuple[StunUri, ...] = ()
    secret: str = field(default="", repr=False)
    limits: HttpLimits = HttpLimits()

    @property
    def store_name(self) -> str:
        """Which kind of store that is."""
        scheme = self.store.partition(":")[0]
        return scheme if scheme in ("memory", "sqlite") else "redis"
