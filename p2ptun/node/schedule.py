"""Who is due when: the deadlines of many, of which only the next one matters."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from enum import Enum
from typing import Protocol

STALE_PER_NAME = 4
"""How many outdated entries the heap holds for each one that counts before it is built anew."""

FEW = 64
"""Outdated entries that are never worth that."""


class Timed(Protocol):
    """A machine that knows what it waits for."""

    @property
    def next_timer(self) -> Enum | None: ...

    def next_timeout(self) -> float | None: ...


def first_timer(machines: Iterable[tuple[str, Timed]]) -> str | None:
    """Name the earliest deadline of several machines, behind the name of the machine."""
    due = [(at, layer, each.next_timer) for layer, each in machines if (at := each.next_timeout()) is not None]
    _, layer, timer = min(due, default=(0.0, "", None), key=lambda each: each[0])
    return None if timer is None else f"{layer} {timer.name.lower().replace('_', ' ')}"


class Schedule:
    """One deadline (monotonic seconds) per name.

    A heap whose outdated entries stay until they come to the top: setting a deadline takes O(log n), reading the next
    one O(1), both amortised. Names with one deadline take their turn in the order in which they were set.
    """

    def __init__(self) -> None:
        self._at: dict[str, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._count = 0

    def __len__(self) -> int:
        """Count the entries, outdated ones included."""
        return len(self._heap)

    def set(self, name: str, at: float | None) -> None:
        """Let `name` be due at `at`, whatever was set before; None: never."""
        if at is None:
            self._at.pop(name, None)
            return
        known = self._at.get(name)
        if known is not None and known[0] == at:
            return
        self._count += 1
        self._at[name] = (at, self._count)
        heapq.heappush(self._heap, (at, self._count, name))
        if len(self._heap) > STALE_PER_NAME * len(self._at) + FEW:
            self._heap = [(*entry, each) for each, entry in self._at.items()]
            heapq.heapify(self._heap)

    def next(self) -> tuple[float, str] | None:
        """Tell the earliest deadline and whose it is."""
        heap = self._heap
        while heap:
            at, number, name = heap[0]
            if self._at.get(name) == (at, number):
                return at, name
            heapq.heappop(heap)
        return None

    def pop_due(self, now: float) -> list[str]:
        """Take those due at `now`, the earliest first. They are unset before the caller acts for any of them."""
        due = []
        while (first := self.next()) is not None and first[0] <= now:
            due.append(first[1])
            del self._at[first[1]]
        return due
