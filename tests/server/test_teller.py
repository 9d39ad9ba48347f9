"""Events are told no faster than anybody reads."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from p2ptun.server.event import ErrorEvent, Event, SkippedEvent
from p2ptun.server.teller import MOST_PER_PERIOD, PERIOD, Teller

EVENT = ErrorEvent("This happened.", "")


def test_what_is_too_much_is_counted() -> None:
    told: list[Event] = []
    teller = Teller(told.append)
    for _ in range(MOST_PER_PERIOD + 7):
        teller.tell(EVENT)
    assert told == [EVENT] * MOST_PER_PERIOD
    teller.settle()
    assert told[-1] == SkippedEvent(7)
    teller.settle()
    teller.tell(EVENT)
    assert told[-2:] == [SkippedEvent(7), EVENT]


@pytest.mark.trio
async def test_periods_pass(autojump_clock: MockClock) -> None:
    told: list[Event] = []
    teller = Teller(told.append)
    with trio.move_on_after(PERIOD * 1.5):
        for _ in range(MOST_PER_PERIOD + 1):
            teller.tell(EVENT)
        await teller.run()
    assert told[-1] == SkippedEvent(1)
