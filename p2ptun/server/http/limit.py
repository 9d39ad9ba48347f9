"""How often one address may ask: token buckets in a table that has an end.

An address is an IPv4 address, or the /56 of an IPv6 one: what one household has. The table keeps who asked last.
Whoever falls out of it had a bucket that filled up meanwhile, or shares the server with more addresses than it can
count; then he begins anew, which gives a flood from so many addresses no more than one from twice as many.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from p2ptun.relay.quota import prefix_of
from p2ptun.types import IPAddress

_SITE_PREFIX: Final = 6  # bytes

SLOTS: Final = 1 << 16
"""Addresses in one table: some 16 MB when it is full."""


def site_of(address: IPAddress) -> bytes:
    """Give the /48 of an IPv6 address, which anybody may have for nothing, and has 256 households in it."""
    return address.packed if address.version == 4 else address.packed[:_SITE_PREFIX]


class Buckets:
    """One bucket per address: `burst` requests at once, and `rate` a second in the long run."""

    def __init__(
        self, rate: float, burst: int, slots: int = SLOTS, place_of: Callable[[IPAddress], bytes] = prefix_of
    ) -> None:
        """`place_of` gives what of an address has one bucket."""
        self._place_of = place_of
        self._rate = rate
        self._burst = burst
        self._slots = slots
        self._used: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # how much was spent, and when that was so

    def __len__(self) -> int:
        """Count the addresses in the table."""
        return len(self._used)

    def take(self, address: IPAddress, now: float) -> float:
        """Take one from the bucket of an address; return 0, or after how many seconds there will be one."""
        place, spent, wait = self._place_of(address), self._spent(address, now), 0.0
        if spent + 1 > self._burst:
            wait = (spent + 1 - self._burst) / self._rate if self._rate else math.inf
        else:
            spent += 1
        self._note(place, spent, now)
        return wait

    def charge(self, address: IPAddress, cost: int, now: float) -> None:
        """Take so many more, or what is left."""
        self._note(self._place_of(address), min(self._spent(address, now) + cost, self._burst), now)

    def _spent(self, address: IPAddress, now: float) -> float:
        """Tell how much of a bucket is spent by now."""
        spent, at = self._used.get(self._place_of(address), (0.0, now))
        return max(0.0, spent - max(0.0, now - at) * self._rate)

    def _note(self, place: bytes, spent: float, now: float) -> None:
        """Keep it, as the latest."""
        self._used[place] = spent, now
        self._used.move_to_end(place)
        if len(self._used) > self._slots:
            self._used.popitem(last=False)
