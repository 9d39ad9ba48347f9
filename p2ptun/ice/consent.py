"""Consent (RFC 7675) and liveness of the selected path.

Two questions, kept apart:

* *May we send?* Only while an authenticated answer to one of our checks is less than 30 s old (RFC 7675 5.1).
  Requests, indications and data of the other side don't count.
* *Does the path work?* What was sent wants something authenticated back within max(2 x RTT + 1 s, 2 s): a tunnel
  packet or an answer. Long before, at the time at which even a peer that has nothing to say would have spoken, the
  path is doubted and one more check is sent; `is_doubted` a round trip later means that another pair that answers
  should carry the traffic. When the whole time is over the path is suspect, whether or not there is another.

An idle path, over which nobody sends, needs no consent and is checked just often enough to keep its NAT binding.
"""

from __future__ import annotations

from enum import Enum, auto

from p2ptun.deadlines import Deadlines
from p2ptun.ice.config import CONSENT_JITTER, AgentConfig
from p2ptun.types import RandomBytes

IDLE_JITTER = (0.8, 1.0)  # of the first interval, so that peers that fell idle together don't go on together
SUSPECT_RTTS = 2.0  # our choices: an answer that takes so long, and a second more, is missing
SUSPECT_MARGIN = 1.0  # seconds
SUSPECT_MINIMUM = 2.0  # seconds

DOUBT_MARGIN = 0.5
"""Seconds, besides two round trips: a peer that gets data and has none to send speaks after this long."""

DOUBT_MINIMUM = 0.1  # seconds for the two round trips of a short path
VERDICT_MINIMUM = 0.2  # seconds for one and a half: what a busy machine may take to answer

AGING_INTERVAL = 1.0
"""Seconds between checks once consent is half way to its expiry though packets arrive.

RFC 7675 5.1 asks for 4 s at least. On a path that loses 15 % each way, five or six checks in 30 s are all lost
every hour or two, and with them a tunnel that works; fifteen more make that a thing of centuries.
"""


class Liveness(Enum):
    """What is known of a path."""

    ALIVE = "alive"
    IDLE = "idle"
    SUSPECT = "suspect"
    EXPIRED = "expired"


class _Timer(Enum):
    CHECK = auto()  # the next consent check
    DOUBT = auto()  # something should have come back by now: one more check
    VERDICT = auto()  # that check should have been answered
    SUSPECT = auto()
    IDLE = auto()
    EXPIRY = auto()


class Consent:
    """The clockwork of one path: says when to check (`take_check`) and what the path's state is.

    It sends nothing and sees no packet: its owner reports what happened.
    """

    def __init__(
        self, config: AgentConfig, random_bytes: RandomBytes, rtt: float | None, confirmed_at: float, now: float
    ) -> None:
        self._config = config
        self._random_bytes = random_bytes
        self._rtt = rtt or 0.0
        self._confirmed_at = confirmed_at
        self._liveness = Liveness.ALIVE
        self._doubted_at: float | None = None
        self._is_doubted = False
        self._is_refused = False
        self._is_check_due = False
        self._timers: Deadlines[_Timer] = Deadlines()
        self._timers.set(_Timer.IDLE, now + config.idle_after)
        expires_at = max(confirmed_at + config.consent_timeout, now + self._patience)  # one probe it may have
        self._timers.set(_Timer.EXPIRY, expires_at)
        self._schedule_check(now)
        self.request(now)

    @property
    def confirmed_at(self) -> float:
        """When consent was given last."""
        return self._confirmed_at

    @property
    def doubted_at(self) -> float | None:
        """Since when something is missing; None while all is well."""
        return self._doubted_at

    @property
    def is_doubted(self) -> bool:
        """Whether even the check that was sent in doubt stays unanswered."""
        return self._is_doubted

    @property
    def liveness(self) -> Liveness:
        """What is known of the path."""
        return self._liveness

    def may_send(self, now: float) -> bool:
        """Tell whether consent is fresh (RFC 7675 5.1)."""
        return self._liveness is not Liveness.EXPIRED and now < self._confirmed_at + self._config.consent_timeout

    def record_sent(self, now: float) -> None:
        """Note that traffic went out. The first packet after a pause wakes an idle path and asks for consent anew."""
        if self._liveness is Liveness.EXPIRED:
            return
        if self._liveness is Liveness.IDLE:
            self._wake(now)
        if self._liveness is Liveness.ALIVE:
            self._timers.set(_Timer.IDLE, now + self._config.idle_after)
            self._expect_answer(now)

    def record_authenticated(self, now: float) -> None:
        """Note that the path brought something authentic: it is alive. Consent is another matter.

        What comes in proves nothing of the way out where the kernel refuses to send.
        """
        if self._liveness is Liveness.EXPIRED or self._is_refused:
            return
        self._doubted_at = None
        self._is_doubted = False
        for timer in (_Timer.SUSPECT, _Timer.DOUBT, _Timer.VERDICT):
            self._timers.cancel(timer)
        if self._liveness is Liveness.SUSPECT:
            self._liveness = Liveness.ALIVE
            self._timers.set(_Timer.IDLE, now + self._config.idle_after)
            self._schedule_check(now)

    def record_answer(self, rtt: float | None, now: float) -> None:
        """Note an authenticated answer to one of our checks: consent for another 30 s."""
        if self._liveness is Liveness.EXPIRED:
            return
        self._is_refused = False
        self._rtt = rtt or self._rtt
        self._confirmed_at = now
        if self._liveness is not Liveness.IDLE:
            self._need_consent(now)
        self.record_authenticated(now)

    def request(self, now: float) -> None:
        """Ask for consent at once, because a packet waits for it. Harmless while consent is fresh."""
        if not self.may_send(now):
            self.suspect(now)

    def doubt(self, now: float) -> None:
        """Check at once, and doubt a path that doesn't answer: something may have happened to it."""
        if self._liveness is not Liveness.EXPIRED:
            self._begin_doubt(now)

    def refuse(self, now: float) -> None:
        """Know that the kernel refuses to send over it: suspect, until a check is answered."""
        self.suspect(now)
        self._is_refused = True

    def suspect(self, now: float) -> None:
        """Treat the path as suspect at once, for consent is missing."""
        if self._liveness in (Liveness.ALIVE, Liveness.IDLE):
            self._begin_suspicion(now)

    def take_check(self, now: float) -> bool:
        """Tell whether a check is to be sent now, and count on it that it is."""
        if not self._is_check_due:
            return False
        self._is_check_due = False
        self._expect_answer(now)
        return True

    def handle_timeout(self, now: float) -> None:
        """Act on everything that is due."""
        for timer in self._timers.pop_expired(now):
            if self._liveness is Liveness.EXPIRED:
                return
            match timer:
                case _Timer.CHECK:
                    self._is_check_due = True
                    self._schedule_check(now)
                case _Timer.DOUBT:
                    self._begin_doubt(now)
                case _Timer.VERDICT:
                    self._is_doubted = True
                case _Timer.SUSPECT:
                    self._begin_suspicion(now)
                case _Timer.IDLE:
                    self._fall_idle(now)
                case _:  # EXPIRY
                    self._expire()

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return self._timers.next()

    @property
    def _patience(self) -> float:
        patience = max(SUSPECT_RTTS * self._rtt + SUSPECT_MARGIN, SUSPECT_MINIMUM)
        return min(patience, self._config.consent_timeout / 2)

    def _expect_answer(self, now: float) -> None:
        """Start the clock of suspicion, unless it runs or the path is suspect already."""
        if self._liveness is Liveness.SUSPECT or self._timers.at(_Timer.SUSPECT) is not None:
            return
        doubt = DOUBT_MARGIN + max(2 * self._rtt, DOUBT_MINIMUM)
        self._timers.set(_Timer.DOUBT, now + min(doubt, self._patience / 2))
        self._timers.set(_Timer.SUSPECT, now + self._patience)

    def _wake(self, now: float) -> None:
        self._liveness = Liveness.ALIVE
        self._need_consent(now)
        self._is_check_due = True
        self._schedule_check(now)

    def _need_consent(self, now: float) -> None:
        """Give the path the whole time from `now`. One that was idle gets it anew; `may_send` is stricter then."""
        self._timers.set(_Timer.EXPIRY, now + self._config.consent_timeout)

    def _begin_doubt(self, now: float) -> None:
        if self._doubted_at is None:
            self._doubted_at = now
            self._timers.set(_Timer.VERDICT, now + max(1.5 * self._rtt, VERDICT_MINIMUM))
        self._is_check_due = True

    def _begin_suspicion(self, now: float) -> None:
        if self._liveness is Liveness.IDLE:
            self._need_consent(now - self._patience)
        self._liveness = Liveness.SUSPECT
        for timer in (_Timer.DOUBT, _Timer.SUSPECT, _Timer.IDLE):
            self._timers.cancel(timer)
        self._begin_doubt(now)
        self._schedule_check(now)

    def _fall_idle(self, now: float) -> None:
        self._liveness = Liveness.IDLE
        self._timers.cancel(_Timer.EXPIRY)
        self._timers.set(_Timer.CHECK, now + self._config.idle_interval * self._draw(IDLE_JITTER))

    def _expire(self) -> None:
        self._liveness = Liveness.EXPIRED
        self._is_check_due = False
        self._timers.clear()

    def _schedule_check(self, now: float) -> None:
        match self._liveness:
            case Liveness.SUSPECT:
                interval = self._config.probe_interval
            case Liveness.IDLE:
                interval = self._config.idle_interval  # no longer, for NATs forget, and no shorter, for idle is quiet
            case _ if now - self._confirmed_at >= self._config.consent_timeout / 2:
                interval = AGING_INTERVAL
            case _:
                interval = self._config.consent_interval * self._draw(CONSENT_JITTER)
        self._timers.set(_Timer.CHECK, now + interval)

    def _draw(self, bounds: tuple[float, float]) -> float:
        return uniform(bounds, self._random_bytes)


def uniform(bounds: tuple[float, float], random_bytes: RandomBytes) -> float:
    """Draw a number between two bounds."""
    low, high = bounds
    return low + (high - low) * int.from_bytes(random_bytes(4), "big") / 2**32
