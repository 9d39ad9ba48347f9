"""The selected pair, and the watch over it."""

from __future__ import annotations

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.consent import Consent, Liveness
from p2ptun.ice.event import PairSelected
from p2ptun.ice.pair import CandidatePair
from p2ptun.types import RandomBytes

MAX_STANDBY = 3  # our choice: how many valid pairs are probed beside a suspect one


class Path:
    """Which pair carries data, and whether it may and does. A new pair begins a new watch."""

    def __init__(self, config: AgentConfig, random_bytes: RandomBytes) -> None:
        self._config = config
        self._random_bytes = random_bytes
        self._pair: CandidatePair | None = None
        self._consent: Consent | None = None
        self._selected: PairSelected | None = None

    @property
    def pair(self) -> CandidatePair | None:
        """The pair that carries data."""
        return self._pair

    @property
    def selected(self) -> PairSelected | None:
        """The same as a value, for the owner."""
        return self._selected

    @property
    def liveness(self) -> Liveness | None:
        """What is known of it; None while nothing is selected."""
        return self._consent.liveness if self._consent else None

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
        before, self._selected = self._selected, _describe(pair) if pair else None
        is_news = self._selected is not None and _identity(self._selected) != _identity(before)
        return self._selected if is_news else None

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
        """Doubt the path at once."""
        if self._consent is not None:
            self._consent.suspect(now)

    def overtaken(self, valid_pairs: list[CandidatePair]) -> CandidatePair | None:
        """Give the pair when it is suspect, was probed in vain, and another valid one has answered in the meantime."""
        if self._pair is None or self._consent is None or self._consent.suspected_at is None:
            return None
        overdue_at = self._consent.suspected_at + max(self._config.probe_interval, self._pair.rtt or 0.0)
        others = (pair for pair in valid_pairs if pair is not self._pair)
        return self._pair if any((pair.confirmed_at or 0.0) > overdue_at for pair in others) else None

    def take_checks(self, valid_pairs: list[CandidatePair], now: float) -> list[CandidatePair]:
        """Tell the watch about answers that came; give the pairs on which a consent check is to be sent now.

        Beside a suspect pair the best other valid ones are probed: one of them may take over.
        """
        if self._pair is None or self._consent is None:
            return []
        confirmed_at = self._pair.confirmed_at
        if confirmed_at is not None and confirmed_at > self._consent.confirmed_at:
            self._consent.record_answer(self._pair.rtt, confirmed_at)
        if not self._consent.take_check(now):
            return []
        others = [pair for pair in valid_pairs if pair is not self._pair]
        return [self._pair, *others[:MAX_STANDBY]] if self.liveness is Liveness.SUSPECT else [self._pair]

    def handle_timeout(self, now: float) -> None:
        """Act on everything that is due."""
        if self._consent is not None:
            self._consent.handle_timeout(now)

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return self._consent.next_timeout() if self._consent else None

    def _holds_against(self, pair: CandidatePair | None) -> bool:
        """Tell whether the path stays as it is, though `pair` claims to be better.

        Whoever has read our password on its way may nominate from any address, with any priority. So a nominated pair
        that works yields only to remote candidates that the peer has told; one that is suspect yields to any.
        """
        if self._pair is None or pair is None or pair.remote.type is not CandidateType.PEER_REFLEXIVE:
            return False
        return self._pair.is_nominated and self.liveness in (Liveness.ALIVE, Liveness.IDLE)

    def _watch_over(self, pair: CandidatePair, now: float) -> Consent:
        confirmed_at = now if pair.confirmed_at is None else pair.confirmed_at
        return Consent(self._config, self._random_bytes, pair.rtt, confirmed_at, now)


def _describe(pair: CandidatePair) -> PairSelected:
    seen = pair.snapshot()
    return PairSelected(seen.local, seen.remote, seen.base, seen.destination, seen.rtt, seen.is_nominated)


def _identity(selected: PairSelected | None) -> tuple[object, ...] | None:
    """Give what makes a selection worth telling: all but the round trip."""
    if selected is None:
        return None
    return selected.local, selected.remote, selected.base, selected.destination, selected.is_nominated
