"""Who has how many allocations, reserved ports included."""

from __future__ import annotations

from collections import Counter
from typing import Final

from p2ptun.relay.config import Limits
from p2ptun.stun.ephemeral import expiry_of
from p2ptun.stun.error import Code
from p2ptun.types import IPAddress

_IPV6_PREFIX: Final = 7  # bytes: a /56 is what one household or machine is given, with 256 networks to choose from


def prefix_of(address: IPAddress) -> bytes:
    """Give what stands for one client: an IPv4 address, or the /56 of an IPv6 one."""
    return address.packed if address.version == 4 else address.packed[:_IPV6_PREFIX]


def person_of(user: str) -> str:
    """Give what stands for one person: of a time-limited user name, which is another one every day, the label."""
    label = "" if expiry_of(user) is None else user.partition(":")[2]
    return label or user


class Quota:
    """Counts allocations per user and per client address."""

    __slots__ = ("_addresses", "_limits", "_total", "_users")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._users: Counter[str] = Counter()
        self._addresses: Counter[bytes] = Counter()
        self._total = 0

    def refusal(self, user: str, address: IPAddress, count: int = 1) -> Code | None:
        """Tell why this client can't have `count` more; None when it can (RFC 8656 7.2)."""
        if self._users[person_of(user)] + count > self._limits.user_allocations:
            return Code.ALLOCATION_QUOTA_REACHED
        if self._addresses[prefix_of(address)] + count > self._limits.address_allocations:
            return Code.ALLOCATION_QUOTA_REACHED
        return Code.INSUFFICIENT_CAPACITY if self._total + count > self._limits.allocations else None

    def add(self, user: str, address: IPAddress, count: int = 1) -> None:
        """Count `count` more."""
        self._users[person_of(user)] += count
        self._addresses[prefix_of(address)] += count
        self._total += count

    def remove(self, user: str, address: IPAddress, count: int = 1) -> None:
        """Count `count` less, and forget who has none."""
        self._total -= count
        person = person_of(user)
        self._users[person] -= count
        if not self._users[person]:
            del self._users[person]
        prefix = prefix_of(address)
        self._addresses[prefix] -= count
        if not self._addresses[prefix]:
            del self._addresses[prefix]
