"""How much may be sent in the long run, whoever asks for it."""

from __future__ import annotations


class Budget:
    """So many packets at once, and as many more as time gives back: one every `interval` seconds."""

    __slots__ = ("_full_at", "_interval", "_most")

    def __init__(self, most: int, interval: float) -> None:
        self._most = most
        self._interval = interval
        self._full_at = float("-inf")

    def ready_at(self, count: int) -> float:
        """Tell from when on `count` packets may be spent."""
        return self._full_at - (self._most - count) * self._interval

    def spend(self, count: int, now: float) -> None:
        """Note that `count` packets leave."""
        self._full_at = max(self._full_at, now) + count * self._interval
