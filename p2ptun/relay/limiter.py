"""By how many bytes answers to somebody who hasn't proved who he is may be longer than requests: sources are forged.

A challenge (401) and a Binding success are larger than the smallest request that they answer. What a victim of forged
sources gets beyond what the attacker sends is bounded by a rate per address. The table has a fixed size: addresses are
hashed into it under a secret, so that nobody can choose whom he shares a slot with, and no flood of addresses makes it
grow or forget.
"""

from __future__ import annotations

from array import array
from hashlib import blake2s
from typing import Final

from p2ptun.relay.quota import prefix_of
from p2ptun.types import IPAddress, RandomBytes

SLOTS: Final = 8192  # two doubles each: 128 KiB
_SECRET_SIZE: Final = 16


class Limiter:
    """One token bucket of bytes per slot."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_secret", "_spent")

    def __init__(self, rate: int, burst: int, random_bytes: RandomBytes) -> None:
        """`rate` is in bytes a second, `burst` in bytes."""
        self._rate = rate
        self._burst = burst
        self._secret = random_bytes(_SECRET_SIZE)
        self._spent = array("d", bytes(8 * SLOTS))
        self._filled_at = array("d", bytes(8 * SLOTS))

    def take(self, address: IPAddress, size: int, now: float) -> bool:
        """Count `size` bytes to `address`; False: it is too much, don't send it."""
        digest = blake2s(prefix_of(address), key=self._secret, digest_size=4).digest()
        slot = int.from_bytes(digest, "big") % SLOTS
        elapsed = max(0.0, now - self._filled_at[slot])
        spent = max(0.0, self._spent[slot] - elapsed * self._rate)
        allowed = spent + size <= self._burst
        self._spent[slot] = spent + size if allowed else spent
        self._filled_at[slot] = max(now, self._filled_at[slot])
        return allowed
