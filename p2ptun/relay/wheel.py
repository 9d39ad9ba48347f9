"""Many deadlines that mostly move away: a timer wheel of whole seconds.

A refreshed permission costs nothing here: its old deadline passes, and whoever owns it sets the new one. What is
cancelled leaves nothing behind, so memory follows what exists and not how often it was refreshed.
"""

from __future__ import annotations

import heapq
from math import ceil
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Wheel(Generic[ItemT]):
    """Items that are due at some time, each up to a second late. Items are told apart by `hash` and `==`."""

    __slots__ = ("_due", "_items", "_seconds")

    def __init__(self) -> None:
        self._due: dict[ItemT, int] = {}
        self._items: dict[int, dict[ItemT, None]] = {}
        self._seconds: list[int] = []  # a heap: each second that `_items` has, once

    def __len__(self) -> int:
        return len(self._due)

    def set(self, item: ItemT, at: float) -> None:
        """Let `item` be due at `at`, whatever it was set to before."""
        self.cancel(item)
        second = ceil(at)
        if second not in self._items:
            self._items[second] = {}
            heapq.heappush(self._seconds, second)
        self._items[second][item] = None
        self._due[item] = second

    def cancel(self, item: ItemT) -> None:
        """Forget `item`; harmless when it isn't set."""
        second = self._due.pop(item, None)
        if second is not None:
            del self._items[second][item]

    def next(self) -> float | None:
        """Tell when something is due."""
        self._skip_empty()
        return float(self._seconds[0]) if self._seconds else None

    def pop_expired(self, now: float) -> list[ItemT]:
        """Take what is due at `now`, earliest first."""
        expired: list[ItemT] = []
        while self._seconds and self._seconds[0] <= now:
            expired += self._items.pop(heapq.heappop(self._seconds))
        for item in expired:
            del self._due[item]
        return expired

    def _skip_empty(self) -> None:
        while self._seconds and not self._items[self._seconds[0]]:
            del self._items[heapq.heappop(self._seconds)]
