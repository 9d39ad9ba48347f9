"""What happens when: a heap of actions, and a watch for whoever spins."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

MAX_AT_ONCE = 50_000  # actions at one instant: more are a busy loop


class Agenda:
    """Actions in the order of their times; those of one instant in the order in which they were noted."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._instant = 0.0
        self._done = 0

    def note(self, at: float, action: Callable[[], None]) -> None:
        """Let `action` happen at `at`."""
        heapq.heappush(self._heap, (at, next(self._numbers), action))

    def next_at(self) -> float | None:
        """Tell when the next action is due."""
        return self._heap[0][0] if self._heap else None

    def act(self, now: float) -> None:
        """Do everything that is due."""
        if now > self._instant:
            self._instant, self._done = now, 0
        while self._heap and self._heap[0][0] <= now:
            self._done += 1
            assert self._done < MAX_AT_ONCE, f"busy loop at {now}"
            heapq.heappop(self._heap)[2]()
