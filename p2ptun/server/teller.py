"""Tells what happens, but no faster than anybody reads: who floods a server with requests floods no log with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import trio

from p2ptun.server.event import Event, SkippedEvent

MOST_PER_PERIOD = 50
PERIOD = 10.0  # seconds


class Teller:
    """Hands on MOST_PER_PERIOD events of a PERIOD at most, and how many there were besides."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._left = MOST_PER_PERIOD
        self._skipped = 0

    def tell(self, event: Event) -> None:
        """Hand on an event, or count it."""
        if self._left > 0:
            self._left -= 1
            self._emit(event)
        else:
            self._skipped += 1

    def settle(self) -> None:
        """Begin a new period: say what was left out of the old one."""
        if self._skipped:
            self._emit(SkippedEvent(self._skipped))
        self._left = MOST_PER_PERIOD
        self._skipped = 0

    async def run(self) -> NoReturn:
        """Let the periods pass."""
        while True:
            await trio.sleep(PERIOD)
            self.settle()
