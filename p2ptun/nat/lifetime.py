"""How long a binding lives without traffic (RFC 5780 4.6): minutes, so only on demand.

RFC 5780 asks one socket after a time, then again after another time: the sum of all times. Here each time has a socket
of its own, and all wait at once: a first row of times from short to long, then rows between the longest that a binding
survived and the shortest that it didn't. Whether it lives is asked from another socket, by RESPONSE-PORT: an answer
that came in may lengthen its life, so no binding is asked twice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from p2ptun.deadlines import earliest
from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.nat.behavior import Lifetime
from p2ptun.nat.drop import DropReason
from p2ptun.nat.event import LifetimeEvent, LifetimeMeasured, LifetimeNarrowed, LifetimeProblem
from p2ptun.nat.probe import Exchange, Plan, Probe, Question
from p2ptun.nat.survey import FIRST_PLAN, PACE
from p2ptun.nat.trial import Trial
from p2ptun.stun.attribute import RESPONSE_PORT
from p2ptun.stun.message import decode_message
from p2ptun.types import Endpoint, RandomBytes, Transmit

WAITS: Final = (15.0, 25.0, 40.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0)
"""Seconds; our choice: RFC 4787 4.3 asks for two minutes at least, and most NATs that keep less keep 30 s or 60 s."""

BASES: Final = 1 + len(WAITS)
"""Sockets that a measurement wants."""

STEPS: Final = 4  # times of a further row
CLOSE: Final = 5.0  # seconds; our choice: bounds that are no farther apart are good enough
CLOSE_RATIO: Final = 0.1  # of the lifetime, likewise
TRIAL_PLAN: Final = Plan(copies=10, interval=0.15, grace=0.75)
ASKING: Final = TRIAL_PLAN.copies * TRIAL_PLAN.interval
"""Seconds that it takes to find a binding dead: it may have died meanwhile."""


@dataclass(slots=True)
class _Rung:
    """A socket whose binding is left alone for `wait` seconds; `trial` tells whether it lives after them."""

    wait: float
    opening: Probe
    ends_at: float | None = None
    trial: Trial | None = None

    @property
    def is_over(self) -> bool:
        return self.trial is not None and self.trial.is_over


class LifetimeDiscovery:
    """One server that answers where RESPONSE-PORT says, and sockets that nobody else uses, BASES of them."""

    def __init__(
        self,
        server: Endpoint,
        bases: Sequence[Endpoint],
        random_bytes: RandomBytes,
        now: float,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """Begin at once: a first binding is asked without waiting, to see whether the server can do that.

        Raises:
            LocalProtocolError: too few sockets.
        """
        if len(set(bases)) < 1 + max(len(waits), STEPS):
            raise LocalProtocolError("needs a socket for each time, and one more")
        self.drops: Counter[DropReason] = Counter()
        self._server = server
        self._asker, *self._bases = bases
        self._exchange = Exchange(random_bytes)
        self._first_waits: Sequence[float] = waits
        self._has_progress = False
        self._rungs = self._open((0.0,), now)
        self._at_least = 0.0
        self._at_most: float | None = None
        self._events: deque[LifetimeEvent] = deque()
        self._is_complete = False
        self._exchange.handle_timeout(now)

    @property
    def is_complete(self) -> bool:
        """Tell whether the measurement is over."""
        return self._is_complete

    @property
    def lifetime(self) -> Lifetime | None:
        """What is known so far."""
        is_known = self._at_least > 0.0 or self._at_most is not None
        return Lifetime(self._at_least, self._at_most) if is_known else None

    @property
    def ends_at(self) -> float | None:
        """When the last of the present times is over: the end, or the begin of a further row."""
        return max((rung.ends_at for rung in self._rungs if rung.ends_at is not None), default=None)

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take what came to a socket. Untrusted."""
        try:
            reason = self._exchange.receive(decode_message(data), source, local, now)
        except MalformedPacket:
            reason = DropReason.MALFORMED
        if reason is not None:
            self.drops[reason] += 1
        self._advance(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        self._advance(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give a datagram to send."""
        return self._exchange.next_transmit()

    def next_event(self) -> LifetimeEvent | None:
        """Give what became known."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` is to be called."""
        if self._is_complete:
            return None
        waiting = (rung.ends_at for rung in self._rungs if rung.trial is None)
        return earliest((self._exchange.next_timeout(), *waiting))

    def _open(self, waits: Sequence[float], now: float) -> list[_Rung]:
        """Make a binding for each time."""
        return [
            _Rung(wait, self._exchange.ask(Question.plain(base, self._server), FIRST_PLAN, now + number * PACE))
            for number, (wait, base) in enumerate(zip(waits, self._bases, strict=False))
        ]

    def _advance(self, now: float) -> None:
        if self._is_complete:
            return
        self._exchange.handle_timeout(now)
        for rung in list(self._rungs):
            self._advance_rung(rung, now)
        if not (self._rungs or self._is_complete):
            self._begin_row(now)
        self._exchange.handle_timeout(now)

    def _advance_rung(self, rung: _Rung, now: float) -> None:
        """Bring one time further; a rung whose binding was never made, or that has its result, is taken away."""
        if rung.opening.mapped is None:
            if rung.opening.is_over:
                self._remove(rung)
                self._conclude(rung.wait, None, LifetimeProblem.NO_ANSWER)
        elif rung.ends_at is None:
            rung.ends_at = now + rung.wait
        if rung.ends_at is not None and rung.ends_at <= now and rung.trial is None and rung.opening.mapped is not None:
            rung.trial = self._ask(rung.opening.question.base, rung.opening.mapped, now)
        if rung.trial is not None:
            rung.trial.settle(now)
        if rung.is_over and rung.trial is not None:
            self._remove(rung)
            self._conclude(rung.wait, rung.trial.verdict, LifetimeProblem.NO_RESPONSE_PORT)

    def _ask(self, base: Endpoint, mapped: Endpoint, now: float) -> Trial:
        """Have an answer sent to a binding that has rested."""
        test = Question(self._asker, self._server, ((RESPONSE_PORT, mapped.port),), base, self._server)
        return Trial.begin(self._exchange, test, Question.plain(self._asker, self._server), TRIAL_PLAN, now)

    def _remove(self, rung: _Rung) -> None:
        self._rungs = [each for each in self._rungs if each is not rung]

    def _conclude(self, wait: float, lives: bool | None, problem: LifetimeProblem) -> None:
        """Narrow the bounds. Nothing can be measured unless a binding that has not rested is reached."""
        if wait == 0.0:
            if not lives:
                self._complete(None, problem)
        elif lives:
            self._at_least = max(self._at_least, wait)
            self._narrow()
        elif lives is False and wait > self._at_least:  # else what lives proves more than what was silent
            self._at_most = wait + ASKING
            self._rungs = [rung for rung in self._rungs if rung.wait < wait]
            self._narrow()

    def _narrow(self) -> None:
        self._has_progress = True
        self._events.append(LifetimeNarrowed(Lifetime(self._at_least, self._at_most)))

    def _begin_row(self, now: float) -> None:
        """Wait anew, for the first times or for some between the bounds; or end."""
        waits, self._first_waits = self._first_waits, ()
        if not waits and self._has_progress and self._at_most is not None:
            distance = self._at_most - self._at_least
            if distance > max(CLOSE, CLOSE_RATIO * self._at_most):
                step = distance / (STEPS + 1)
                waits = tuple(self._at_least + number * step for number in range(1, STEPS + 1))
        if not waits:
            self._complete(self.lifetime, None if self.lifetime else LifetimeProblem.NO_ANSWER)
        self._has_progress = False
        self._rungs = self._open(waits, now)

    def _complete(self, lifetime: Lifetime | None, problem: LifetimeProblem | None) -> None:
        self._is_complete = True
        self._exchange.stop()
        self._events.append(LifetimeMeasured(lifetime, problem))
