"""What a client has on the server: an allocation with relayed addresses, permissions and channels (RFC 8656 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from p2ptun.relay.meter import Meter
from p2ptun.stun.attribute import AttributeValue
from p2ptun.stun.codec import AddressFamily
from p2ptun.stun.message import TransactionId
from p2ptun.stun.turn import CHANNEL_COOLDOWN, DEFAULT_LIFETIME
from p2ptun.types import Endpoint, IPAddress

RESERVATION_LIFETIME: Final = 30.0  # seconds, RFC 8656 7.2: at least that

VERSIONS: Final[dict[int, int]] = {AddressFamily.IPV4.value: 4, AddressFamily.IPV6.value: 6}
"""The IP version that a family number of TURN stands for."""

FiveTuple: TypeAlias = tuple[Endpoint, Endpoint]
"""The client and the listener that it uses; the transport is in both."""


@dataclass(slots=True, eq=False)
class Relay:
    """One relayed address of an allocation."""

    allocation: Allocation
    relayed: Endpoint
    expires_at: float


@dataclass(slots=True, eq=False)
class Permission:
    """A peer address that may send, and be sent to, from any port (RFC 8656 9)."""

    allocation: Allocation
    address: IPAddress
    expires_at: float


@dataclass(slots=True, eq=False)
class Channel:
    """A channel number that stands for a peer (RFC 8656 12). Until `CHANNEL_COOLDOWN` after its end both stay taken."""

    allocation: Allocation
    number: int
    peer: Endpoint
    expires_at: float

    @property
    def free_at(self) -> float:
        """When number and peer may be bound anew to others."""
        return self.expires_at + CHANNEL_COOLDOWN


@dataclass(slots=True, eq=False)
class Reservation:
    """A port that is kept for whoever shows the token (RFC 8656 7.2). It counts as an allocation of who asked."""

    token: bytes
    relayed: Endpoint
    user: str
    client: Endpoint


@dataclass(slots=True, eq=False)
class Allocation:
    """An allocation, known by its 5-tuple. The user who made it is the only one who may use it (RFC 8656 5).

    `success` is what the Allocate request `transaction_id` was answered, for when it comes again. `relays` is by IP
    version; `relayed` names them also when they are gone.
    """

    client: Endpoint
    local: Endpoint
    user: str
    transaction_id: TransactionId
    success: tuple[AttributeValue, ...]
    relayed: tuple[Endpoint, ...]
    meter: Meter
    relays: dict[int, Relay] = field(default_factory=dict)
    permissions: dict[IPAddress, Permission] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    numbers: dict[Endpoint, Channel] = field(default_factory=dict)

    @property
    def five_tuple(self) -> FiveTuple:
        """What it is known by."""
        return self.client, self.local

    def has_permission(self, address: IPAddress, now: float) -> bool:
        """Tell whether `address` may send and be sent to."""
        permission = self.permissions.get(address)
        return permission is not None and now < permission.expires_at


def granted_lifetime(requested: int | None, longest: int) -> int:
    """Tell how long to grant, in seconds: at least the default, at most `longest` (RFC 8656 7.2)."""
    return min(max(requested or 0, DEFAULT_LIFETIME), longest)
