"""Whether two sockets inside reach each other at their public addresses (RFC 5780 3.4, RFC 4787 6)."""

from __future__ import annotations

from dataclasses import dataclass

from p2ptun.nat.probe import Exchange, Plan, Question
from p2ptun.nat.survey import GRACE, TRIAL_COPIES, TRIAL_INTERVAL
from p2ptun.nat.trial import Trial
from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class Seen:
    """A socket, and where a server saw it."""

    base: Endpoint
    mapped: Endpoint


class Hairpin:
    """Both sockets send to each other, so that each lets the other in, whatever the filtering."""

    def __init__(self, exchange: Exchange, server: Endpoint, one: Seen, other: Seen, at: float) -> None:
        """Begin at `at` with two sockets that `server` has seen."""
        self._exchange = exchange
        self._server = server
        self._plan = Plan(TRIAL_COPIES, TRIAL_INTERVAL, GRACE)
        self._trials = (self._send(one, other, at), self._send(other, one, at))

    @property
    def verdict(self) -> bool | None:
        """Tell whether either was reached; None when that can't be told, or not yet."""
        verdicts = {trial.verdict for trial in self._trials}
        if True in verdicts:
            return True
        return None if None in verdicts else False

    def settle(self, now: float) -> None:
        """End the controls when they are needed no more."""
        for trial in self._trials:
            trial.settle(now)

    def _send(self, sender: Seen, receiver: Seen, at: float) -> Trial:
        """Send to where the receiver was seen; the request itself has to come back."""
        test = Question(sender.base, receiver.mapped, (), receiver.base, None)
        return Trial.begin(self._exchange, test, Question.plain(sender.base, self._server), self._plan, at)
