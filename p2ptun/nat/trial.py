"""Experiments whose answer may be silence, and when to believe it.

Beside the test runs a control: a question that would have been answered the same way, were it not for what is tested.
It says how many copies the network loses, and that the server does what it is asked. Silence is believed only where
mere loss is a poor explanation of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from p2ptun.nat.probe import Exchange, Plan, Probe, Question

DOUBT: Final = 2e-4
"""Our choice: the greatest chance of mere loss at which a silence counts. Seven copies are enough where all of the
control's are answered, eighteen where ten are."""


def chance_of_loss(silent: int, answered: int, asked: int) -> float:
    """Tell how likely `silent` copies were all just lost, where of `asked` others that many were answered.

    Laplace's rule of succession: every rate of loss is taken for equally likely beforehand.
    """
    lost = asked - answered
    chance = 1.0
    for step in range(1, silent + 1):
        chance *= (lost + step) / (asked + 1 + step)
    return chance


@dataclass(frozen=True, slots=True)
class Trial:
    """A test and its control, asked at the same moments."""

    test: Probe
    control: Probe

    @classmethod
    def begin(cls, exchange: Exchange, test: Question, control: Question, plan: Plan, at: float) -> Trial:
        """Ask both from `at` on."""
        persistent = Plan(plan.copies, plan.interval, plan.grace, is_persistent=True)
        return cls(exchange.ask(test, plan, at), exchange.ask(control, persistent, at))

    @property
    def is_over(self) -> bool:
        """Tell whether `verdict` is final."""
        return self.test.is_over and self.control.is_over

    @property
    def verdict(self) -> bool | None:
        """Tell whether the test was answered; None when that can't be told, or not yet."""
        if self.test.answered:
            return True
        if not self.is_over or self.test.refusal is not None or self.test.is_ignored:
            return None
        chance = chance_of_loss(self.test.asked, self.control.answered, self.control.asked)
        return False if chance < DOUBT else None

    def settle(self, now: float) -> None:
        """End the control when it is needed no more, and both when further copies would only tell the same."""
        answered, asked = self.control.answered, self.control.asked
        if self.test.answered or self.test.refusal is not None or self.test.is_ignored:
            self.control.stop()
        elif chance_of_loss(answered, answered, asked) < DOUBT:
            self.test.wind_up(now)
            self.control.wind_up(now)
