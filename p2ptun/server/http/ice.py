"""The STUN and TURN servers that those in a room are told, with credentials for a while.

The answer has the shape that WebRTC's `iceServers` have::

    {"servers": [{"urls": ["stun:rv.example.net:3478"]},
                 {"urls": ["turn:rv.example.net:3478?transport=udp"], "username": "1790000000:x", "credential": "..."}],
     "ttl": 86400}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Final

import msgspec

from p2ptun.stun.ephemeral import ephemeral_credential
from p2ptun.stun.uri import Scheme, StunUri
from p2ptun.types import Endpoint, Transport

CREDENTIAL_LIFETIME: Final = 86400  # seconds
MOST_ADDRESSES: Final = 4
"""Of a machine with many addresses, so many are named: each is one more server for clients to ask."""


class IceServerDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some servers of one kind."""

    urls: list[str]
    username: str = ""
    credential: str = ""

    def __repr__(self) -> str:
        return f"IceServerDocument({self.urls})"


class IceDocument(msgspec.Struct, frozen=True):
    """All servers. `ttl` is how many seconds credentials work; null where there are none."""

    servers: list[IceServerDocument]
    ttl: int | None


@dataclass(frozen=True, slots=True)
class IceOffer:
    """What there is to offer.

    Attributes:
        uris: Servers, ours and others'.
        secret: What relays and we know; empty without relays.
        clock: Tells Unix seconds.
    """

    uris: tuple[StunUri, ...]
    secret: str = field(repr=False)
    clock: Callable[[], float]

    def make(self, token: str) -> IceDocument:
        """Write the offer for the side of a room that a token is, with a credential when there are relays.

        The credential's name hides the room from whoever keeps the relay. A quota is one side's: numbers of rooms are
        used again, and whoever had one before must not use up what the next ones have.
        """
        plain = [str(each) for each in self.uris if not each.scheme.is_turn]
        relays = [str(each) for each in self.uris if each.scheme.is_turn] if self.secret else []
        servers = [IceServerDocument(plain)] if plain else []
        if not relays:
            return IceDocument(servers, None)
        label = blake2s(token.encode(), key=blake2s(self.secret.encode()).digest(), digest_size=8).hexdigest()
        credential = ephemeral_credential(self.secret, label, self.clock() + CREDENTIAL_LIFETIME)
        relay = IceServerDocument(relays, credential.username, credential.password)
        return IceDocument([*servers, relay], CREDENTIAL_LIFETIME)


def own_uris(
    plain: Iterable[Endpoint], secure: Iterable[Endpoint], public_name: str, has_relay: bool
) -> tuple[StunUri, ...]:
    """Name this server's listeners for STUN and TURN as clients reach them: by its name, or else by their addresses."""
    found: dict[StunUri, None] = {}
    for host, port in _places(plain, public_name):
        found[StunUri(Scheme.STUN, host, port)] = None
        if has_relay:
            found[StunUri(Scheme.TURN, host, port, Transport.UDP)] = None
            found[StunUri(Scheme.TURN, host, port, Transport.TCP)] = None
    if has_relay:
        for host, port in _places(secure, public_name):
            found[StunUri(Scheme.TURNS, host, port, Transport.TLS)] = None
    return tuple(found)


def _places(endpoints: Iterable[Endpoint], public_name: str) -> list[tuple[str, int]]:
    """List hosts and ports. Loopback leads others nowhere: it is named where there is nothing else, as in tests."""
    known = list(endpoints)
    reachable = [each for each in known if not each.address.is_loopback] or known
    places = dict.fromkeys((public_name or str(each.address), each.port) for each in reachable)
    return list(places)[:MOST_ADDRESSES]
