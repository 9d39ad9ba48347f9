"""Named deadlines: what a machine waits for, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Generic, TypeVar

TimerT = TypeVar("TimerT", bound=Enum)


def earliest(times: Iterable[float | None]) -> float | None:
    """Return the first of several deadlines, some of which may not be set; None when none is.

    A plain loop, since every batch of packets asks ten times: `min` over a generator takes four times as long.
    """
    first = None
    for at in times:
        if at is not None and (first is None or at < first):
            first = at
    return first


class Deadlines(Generic[TimerT]):
    """One absolute time (monotonic seconds) per named timer.

    A machine declares its timers as an enum, sets and cancels them by name, and serves `pop_expired` with one `match`.
    """

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[TimerT, float] = {}

    def at(self, timer: TimerT) -> float | None:
        """Tell when `timer` expires; None while it isn't set."""
        return self._at.get(timer)

    def next(self) -> float | None:
        """Tell the earliest deadline; None while nothing is set."""
        return min(self._at.values(), default=None)

    def next_timer(self) -> TimerT | None:
        """Name the timer that expires first."""
        return min(self._at, key=self._at.__getitem__, default=None)

    def set(self, timer: TimerT, at: float) -> None:
        """Let `timer` expire at `at`, whatever it was set to before."""
        self._at[timer] = at

    def set_earlier(self, timer: TimerT, at: float) -> None:
        """Let `timer` expire at `at` unless it is already due before."""
        self._at[timer] = min(at, self._at.get(timer, at))

    def cancel(self, timer: TimerT) -> None:
        """Forget `timer`; harmless when it isn't set."""
        self._at.pop(timer, None)

    def clear(self) -> None:
        """Forget every timer."""
        self._at.clear()

    def pop_expired(self, now: float) -> list[TimerT]:
        """Take the timers due at `now`, earliest first. They are unset before the caller acts on any of them."""
        due = sorted((at, index, timer) for index, (timer, at) in enumerate(self._at.items()) if at <= now)
        for _, _, timer in due:
            del self._at[timer]
        return [timer for _, _, timer in due]
