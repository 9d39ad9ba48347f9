"""When to look for something better than the pair that carries data.

Every search that finds nothing doubles the wait for the next one, up to two minutes; every event that may have changed
something (a new candidate, a new path, a changed network) begins anew. A path that carries nothing isn't improved.
"""

from __future__ import annotations

from p2ptun.ice.pair import CandidatePair
from p2ptun.ice.quality import rank
from p2ptun.types import Transport

MAX_BETTER = 5  # pairs searched in one round, our choice: a round costs a few packets
MAX_SPARE = 3


class Lookout:
    """The clock of the search."""

    def __init__(self, interval: tuple[float, float]) -> None:
        self._shortest, self._longest = interval
        self._interval = self._shortest
        self._next_at: float | None = None

    @property
    def next_at(self) -> float | None:
        """When the next search is due; None while there is nothing to search for."""
        return self._next_at

    def rouse(self, now: float) -> None:
        """Begin anew: something has changed."""
        self._interval = self._shortest
        self._next_at = now + self._interval

    def rest(self) -> None:
        """Search no more until `rouse`."""
        self._next_at = None

    def take(self, now: float) -> bool:
        """Tell whether a search is due now, and wait twice as long for the next."""
        if self._next_at is None or now < self._next_at:
            return False
        self._interval = min(2 * self._interval, self._longest)
        self._next_at = now + self._interval
        return True


def worth_another_check(failed: list[CandidatePair], selected: CandidatePair, has_standby: bool) -> list[CandidatePair]:
    """Choose among failed pairs, given by priority: the best that may beat `selected`, and some for a standby.

    While UDP works no new TCP connection is opened: which ones, the peer could choose.
    """
    if selected.base.transport is Transport.UDP:
        failed = [pair for pair in failed if pair.base.transport is Transport.UDP]
    better = [pair for pair in failed if rank(pair) < rank(selected) or pair.priority > selected.priority][:MAX_BETTER]
    spare = [pair for pair in failed if pair not in better][: 0 if has_standby else MAX_SPARE]
    return better + spare
