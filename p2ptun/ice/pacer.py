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
