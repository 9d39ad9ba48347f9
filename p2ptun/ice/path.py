"""The selected pair and the one that stands ready, and the watch over both."""

from __future__ import annotations

from p2ptun.deadlines import earliest
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.consent import Consent, Liveness, uniform
from p2ptun.ice.event import PairSelected
from p2ptun.ice.pair import CandidatePair
from p2ptun.ice.quality import best_standby
from p2ptun.types import RandomBytes

STANDBY_JITTER = (0.8, 1.2)
MAX_PROBED = 2  # our choice: how many valid pairs are probed beside a suspect one and the one that stands ready


class Path:
    """Which pair carries data, and whether it may and does; which one takes over. A new pair begins a new watch."""

    def __init__(self, config: AgentConfig, random_bytes: RandomBytes) -> None:
        self._config = config
        self._random_bytes = random_bytes
        self._pair: CandidatePair | None = None
        self._standby: CandidatePair | None = None
        self._standby_due_at: float | None = None
        self._consent: Consent | None = None
        self._selected: PairSelected | None = None
        self._ready: PairSelected | None = None

    @property
    def pair(self) -> CandidatePair | None:
        """The pair that carries data."""
        return self._pair

    @property
    def standby_pair(self) -> CandidatePair | None:
        """The pair that takes over."""
        return self._standby

    @property
    def selected(self) -> PairSelected | None:
        """The pair that carries data, as a value for the owner."""
        return self._selected

    @property
    def standby(self) -> PairSelected | None:
        """The pair that takes over, as a value for the owner."""
        return self._ready

    @property
    def liveness(self) -> Liveness | None:
        """What is known of it; None while nothing is selected."""
        return self._consent.liveness if self._consent else None

    @property
    def expired(self) -> CandidatePair | None:
        """The pair, when consent to send on it has expired."""
        return self._pair if self.liveness is Liveness.EXPIRED else None

    @property
    def is_healthy(self) -> bool:
        """Whether there is no reason to leave."""
        works = self.liveness in (Liveness.ALIVE, Liveness.IDLE)
        is_doubted = self._consent is not None and self._consent.is_doubted
        return works and not is_doubted and self._pair is not None and not self._pair.is_silent

    def may_send(self, now: float) -> bool:
        """Tell whether data may go out now."""
        return self._consent is not None and self._consent.may_send(now)

    def select(self, pair: CandidatePair | None, now: float) -> PairSelected | None:
        """Let `pair`, which is valid, carry data; give the event when that is news."""
        if self._holds_against(pair):
            pair = self._pair
        if pair is not self._pair:
            self._pair = pair
            self._consent = self._watch_over(pair, now) if pair else None
        before, self._selected = self._selected, _describe(pair)
        is_news = self._selected is not None and _identity(self._selected) != _identity(before)
        return self._selected if is_news else None

    def keep_ready(self, valid_pairs: list[CandidatePair], now: float) -> bool:
        """Choose who takes over; tell whether that has changed. An idle path keeps nobody ready, for it is quiet."""
        self._standby = best_standby(valid_pairs, self._pair, self._standby) if self._pair is not None else None
        if self._standby is None or self.liveness is not Liveness.ALIVE:
            self._standby_due_at = None
        elif self._standby_due_at is None:
            self._standby_due_at = now + self._standby_interval
        before, self._ready = self._ready, _describe(self._standby)
        return _identity(self._ready) != _identity(before)

    def record_sent(self, now: float) -> None:
        """Note that traffic went out."""
        if self._consent is not None:
            self._consent.record_sent(now)

    def record_authenticated(self, now: float) -> None:
        """Note that something authentic came in."""
        if self._consent is not None:
            self._consent.record_authenticated(now)

    def request_consent(self, now: float) -> None:
        """Ask for consent, because a packet waits for it."""
        if self._consent is not None:
            self._consent.request(now)

    def doubt(self, now: float) -> None:
        """Check the path now: something may have happened to it."""
        if self._consent is not None:
            self._consent.doubt(now)

    def refuse(self, now: float) -> None:
        """Know that the kernel refuses to send over it: any other pair is better, until this one answers."""
        if self._consent is not None and self._pair is not None:
            self._consent.refuse(now)
            self._pair.is_silent = True

    def judge(self, valid_pairs: list[CandidatePair]) -> None:
        """Call the pair silent when it was probed in vain and another valid one has answered since it is in doubt.

        With it go those of which nobody knows more: traffic moves to who has answered, not from one pair of a dead
        relay to the next.
        """
        if self._pair is None or self._consent is None or not self._consent.is_doubted:
            return
        since = self._consent.doubted_at or 0.0
        answering = [pair for pair in valid_pairs if not pair.is_silent and (pair.confirmed_at or 0.0) > since]
        if any(pair is not self._pair for pair in answering):
            for pair in valid_pairs:
                pair.is_silent = pair.is_silent or pair not in answering

    def take_checks(self, valid_pairs: list[CandidatePair], now: float) -> list[CandidatePair]:
        """Tell the watch about answers that came; give the pairs on which a consent check is to be sent now.

        While the pair is in doubt the one that stands ready is checked with it; when it is suspect, others are too.
        """
        if self._pair is None or self._consent is None:
            return []
        confirmed_at = self._pair.confirmed_at
        if confirmed_at is not None and confirmed_at > self._consent.confirmed_at:
            self._consent.record_answer(self._pair.rtt, confirmed_at)
        is_standby_due = self._standby_due_at is not None and self._standby_due_at <= now
        checks = [self._pair] if self._consent.take_check(now) else []
        is_in_doubt = bool(checks) and self._consent.doubted_at is not None
        if self._standby is not None and (is_standby_due or is_in_doubt):
            self._standby_due_at = now + self._standby_interval
            checks.append(self._standby)
        if checks and self.liveness is Liveness.SUSPECT:
            checks += [pair for pair in valid_pairs if pair not in checks][:MAX_PROBED]
        return checks

    def handle_timeout(self, now: float) -> None:
        """Act on everything that is due."""
        if self._consent is not None:
            self._consent.handle_timeout(now)

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` or `take_checks` has something to do."""
        times = (self._standby_due_at, self._consent.next_timeout() if self._consent else None)
        return earliest(times)

    @property
    def _standby_interval(self) -> float:
        return self._config.standby_interval * uniform(STANDBY_JITTER, self._random_bytes)

    def _holds_against(self, pair: CandidatePair | None) -> bool:
        """Tell whether the path stays as it is, though `pair` claims to be better.

        Whoever has read our password on its way may nominate from any address, with any priority. So a nominated pair
        that works yields only to remote candidates that the peer has told, or from which the tunnel's own packets
        have come; one that is suspect yields to any.
        """
        if self._pair is None or pair is None or not self._pair.valid:
            return False
        is_trusted = pair.is_vouched or pair.remote.type is not CandidateType.PEER_REFLEXIVE
        return not is_trusted and self._pair.is_nominated and self.is_healthy

    def _watch_over(self, pair: CandidatePair, now: float) -> Consent:
        confirmed_at = now if pair.confirmed_at is None else pair.confirmed_at
        return Consent(self._config, self._random_bytes, pair.rtt, confirmed_at, now)


def _describe(pair: CandidatePair | None) -> PairSelected | None:
    if pair is None:
        return None
    seen = pair.snapshot()
    return PairSelected(seen.local, seen.remote, seen.base, seen.destination, seen.rtt, seen.is_nominated)


def _identity(selected: PairSelected | None) -> tuple[object, ...] | None:
    """Give what makes a selection worth telling: all but the round trip."""
    if selected is None:
        return None
    return selected.local, selected.remote, selected.base, selected.destination, selected.is_nominated
