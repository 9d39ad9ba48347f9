"""What to ask a server for, and how to read what it says to that (RFC 8656 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from p2ptun.stun.attribute import (
    ADDITIONAL_ADDRESS_FAMILY,
    ALTERNATE_DOMAIN,
    ALTERNATE_SERVER,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.codec import AddressFamily
from p2ptun.stun.error import Code
from p2ptun.stun.message import Message
from p2ptun.stun.trust import Scope, scope_of
from p2ptun.stun.turn import DEFAULT_LIFETIME, UDP
from p2ptun.turn.event import LossReason, Problem
from p2ptun.turn.request import UNUSABLE
from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class Wish:
    """Families that we ask for, and how."""

    families: frozenset[int]
    attributes: tuple[AttributeValue, ...]

    @property
    def request(self) -> tuple[AttributeValue, ...]:
        """The attributes of the Allocate request. No DONT-FRAGMENT: the tunnel finds the MTU of its path itself."""
        return ((REQUESTED_TRANSPORT, UDP), *self.attributes)


WISHES: Final = (
    Wish(frozenset({4, 6}), ((ADDITIONAL_ADDRESS_FAMILY, int(AddressFamily.IPV6)),)),
    Wish(frozenset({4}), ()),
    Wish(frozenset({6}), ((REQUESTED_ADDRESS_FAMILY, int(AddressFamily.IPV6)),)),
)
"""Both families at once, which a server that doesn't know it takes for IPv4 alone; then one after the other."""

STEPS_DOWN: Final = frozenset({Code.UNKNOWN_ATTRIBUTE, Code.ADDRESS_FAMILY_NOT_SUPPORTED})
"""What makes us wish for less."""

_PROBLEMS: Final[dict[int, Problem]] = {
    UNUSABLE: Problem.UNUSABLE,
    Code.FORBIDDEN: Problem.FORBIDDEN,
    Code.ADDRESS_FAMILY_NOT_SUPPORTED: Problem.NO_FAMILY,
    Code.WRONG_CREDENTIALS: Problem.WRONG_CREDENTIALS,
    Code.UNSUPPORTED_TRANSPORT_PROTOCOL: Problem.NO_UDP,
    Code.ALLOCATION_QUOTA_REACHED: Problem.QUOTA_REACHED,
    Code.SERVER_ERROR: Problem.SERVER_ERROR,
    Code.INSUFFICIENT_CAPACITY: Problem.NO_CAPACITY,
}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a server has given us: one address, or one of each family. `lifetime` is in seconds."""

    relayed: tuple[Endpoint, ...]
    mapped: Endpoint | None
    lifetime: float

    def relayed_for(self, peer: Endpoint) -> Endpoint | None:
        """Give the address that talks with `peer`: the one of its family."""
        return next((one for one in self.relayed if one.address.version == peer.address.version), None)


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no allocation on this socket."""

    problem: Problem
    code: int | None


@dataclass(frozen=True, slots=True)
class Redirected:
    """300: `server` shall give it, whose certificate names `domain`, or the same name as before when that is None."""

    server: Endpoint
    domain: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The allocation is gone."""

    reason: LossReason


@dataclass(frozen=True, slots=True)
class Refused:
    """The server has nothing to do with a peer."""

    peer: Endpoint
    code: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A peer has sent something."""

    payload: bytes
    peer: Endpoint


ClientEvent: TypeAlias = Grant | Failed | Redirected | Ended | Refused | Arrived


def read_grant(success: Message, wish: Wish) -> Grant | None:
    """Read an Allocate success; None when it doesn't give what it has to.

    One family of two may be missing (RFC 8656 7.3 puts an ADDRESS-ERROR-CODE in its place): half is better than none.
    coturn 4.6 without IPv4 says 0.0.0.0:0 besides its IPv6 address.
    """
    relayed = tuple(endpoint for endpoint in success.get_all(XOR_RELAYED_ADDRESS) if is_sane(endpoint))
    families = [endpoint.address.version for endpoint in relayed]
    if not relayed or len(families) != len(set(families)) or not wish.families.issuperset(families):
        return None
    lifetime = read_lifetime(success)
    return Grant(relayed, success.get(XOR_MAPPED_ADDRESS), lifetime) if lifetime > 0 else None


def read_lifetime(success: Message) -> float:
    """Give the granted lifetime in seconds; a server that names none means the default."""
    lifetime = success.get(LIFETIME)
    return float(DEFAULT_LIFETIME if lifetime is None else lifetime)


def read_refusal(error: Message, code: int, server: Endpoint, is_proven: bool) -> Failed | Redirected:
    """Read an error that ends an Allocate. `is_proven`: it is sealed, or came over TLS.

    A redirection that nobody vouches for could lead our credentials anywhere (RFC 8489 14.8), and none leads nearer
    than the server is: nobody out there sends us to services in our own network.
    """
    if code != Code.TRY_ALTERNATE:
        return Failed(_PROBLEMS.get(code, Problem.REFUSED), code or None)
    alternate = error.get(ALTERNATE_SERVER)
    if not is_proven:
        return Failed(Problem.UNPROVEN_REDIRECT, code)
    if alternate is None or alternate.address.version != server.address.version or not is_sane(alternate):
        return Failed(Problem.UNUSABLE, code)
    if scope_of(alternate.address) < scope_of(server.address):
        return Failed(Problem.UNUSABLE, code)
    return Redirected(Endpoint(alternate.address, alternate.port, server.transport), error.get(ALTERNATE_DOMAIN))


def is_sane(endpoint: Endpoint) -> bool:
    """Tell whether somebody can be there."""
    return endpoint.port != 0 and scope_of(endpoint.address) is not Scope.NOWHERE
