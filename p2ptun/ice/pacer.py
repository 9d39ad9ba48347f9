"""The pace that all agents of a node keep together (RFC 8445 14.2)."""

from __future__ import annotations

MIN_PACE = 0.005
"""Seconds between two new transactions, over all agents on one machine: RFC 8445 14.2 forbids less."""

STRANGERS = 32  # ours: as many peer-reflexive candidates as an agent keeps
SLOWEST = 1.0  # seconds between checks


class Pacer:
    """Hands out the times at which new transactions may begin: to one agent, or to many that share it."""

    def __init__(self, interval: float = MIN_PACE) -> None:
        self._interval = interval
        self._free_at = 0.0

    def reserve(self, now: float) -> float:
        """Give the next free time, `now` or later, to the caller alone."""
        at = max(now, self._free_at)
        self._free_at = at + self._interval
        return at


class Cadence:
    """When one agent may begin its next check: Ta after the last one, at a time of its own among all agents.

    Two NATs that map by destination show a new address to each check; each is answered by a check that shows another
    one, for ever. So after STRANGERS checks to addresses that nobody told, the pace slows down, to one check a second.
    """

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._is_reserved = False
        self._strangers = 0
        self.next_at = 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether a check may begin now. Once that is so it stays so, until `begin`."""
        if now < self.next_at:
            return False
        if not self._is_reserved:
            self._is_reserved = True
            self.next_at = self._pacer.reserve(now)
        return now >= self.next_at

    def begin(self, interval: float, is_strange: bool, now: float) -> None:
        """Note that a check has begun, to an address that nobody told or one that was signalled; `interval` is Ta."""
        self._is_reserved = False
        self._strangers += is_strange
        slowness = max(1.0, self._strangers / STRANGERS) ** 3
        self.next_at = now + min(interval * slowness, max(interval, SLOWEST))

    def hasten(self) -> None:
        """Keep the usual pace again: something has changed."""
        self._strangers = 0
