"""The pace that all agents of a node keep together (RFC 8445 14.2)."""

from __future__ import annotations

MIN_PACE = 0.005
"""Seconds between two new transactions, over all agents on one machine: RFC 8445 14.2 forbids less."""


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
    """When one agent may begin its next check: Ta after the last one, at a time of its own among all agents."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._is_reserved = False
        self.next_at = 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether a check may begin now. Once that is so it stays so, until `begin`."""
        if now < self.next_at:
            return False
        if not self._is_reserved:
            self._is_reserved = True
            self.next_at = self._pacer.reserve(now)
        return now >= self.next_at

    def begin(self, next_at: float) -> None:
        """Note that a check has begun, and when the next may."""
        self._is_reserved = False
        self.next_at = next_at
