"""Whether two sockets inside reach each other at their public addresses (RFC 5780 3.4, RFC 4787 6)."""

from __future__ import annotations

from p2ptun.nat.probe import Exchange, Plan, Question
from p2ptun.nat.survey import GRACE, TRIAL_COPIES, TRIAL_INTERVAL
from p2ptun.nat.trial import Trial
from p2ptun.types import Endpoint


class Hairpin:
    """Both sockets send to each other, so that each lets the other in, whatever the filtering."""

    def __init__(
        self,
        exchange: Exchange,
        server: Endpoint,
        one: tuple[Endpoint, Endpoint],
        other: tuple[Endpoint, Endpoint],
        at: float,
    ) -> None:
        """Begin at `at`; `one` and `other` are sockets, each with where `server` has seen it."""
        plan = Plan(TRIAL_COPIES, TRIAL_INTERVAL, GRACE)
        self._trials = tuple(
            Trial.begin(
                exchange,
                Question(base, seen, (), heard_at, None),
                Question.plain(base, server),
                plan,
                at,
            )
            for base, seen, heard_at in ((one[0], other[1], other[0]), (other[0], one[1], one[0]))
        )

    @property
    def verdict(self) -> bool | None:
        """Tell whether either was reached; None when that can't be told, or not yet."""
        verdicts = {trial.verdict for trial in self._trials}
        if True in verdicts:
            return True
        return None if None in verdicts else False

    @property
    def is_over(self) -> bool:
        """Tell whether `verdict` is final."""
        return all(trial.is_over for trial in self._trials)

    def settle(self) -> None:
        """End the controls when they are needed no more."""
        for trial in self._trials:
            trial.settle()
