"""The check list: pairs in order of priority, frozen ones, and the triggered-check queue (RFC 8445 6.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from operator import attrgetter

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.pair import CandidatePair, PairKey, PairProblem, PairState
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint, Transport

_PENDING = (PairState.FROZEN, PairState.WAITING, PairState.IN_PROGRESS)
_RETRIABLE = (PairProblem.NO_ANSWER, PairProblem.SUPERSEDED, PairProblem.UNREACHABLE, PairProblem.REFUSED)
_EVICTABLE = (PairState.FROZEN, PairState.WAITING, PairState.FAILED)


MAX_IN_A_ROW = 3
"""Triggered checks before an ordinary one has its turn. Two NATs that map by destination show a new address with each
check, and each triggers the next one: for ever, while the pair that works would wait."""


class Checklist:
    """Every pair of one generation. Knows which to check next; sends nothing.

    Each base and destination occur once: a server-reflexive candidate is represented by its base before it gets here
    (RFC 8445 6.1.2.4), so that identical pairs collapse.
    """

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._pairs: dict[PairKey, CandidatePair] = {}
        self._triggered: deque[CandidatePair] = deque()
        self._expired: set[PairKey] = set()
        self._in_a_row = 0

    @property
    def pairs(self) -> list[CandidatePair]:
        """All pairs, highest priority first."""
        return _by_priority(self._pairs.values())

    @property
    def valid_pairs(self) -> list[CandidatePair]:
        """The pairs whose check has succeeded, highest priority first."""
        return _by_priority(pair for pair in self._pairs.values() if pair.valid)

    @property
    def has_valid_pairs(self) -> bool:
        """Whether some check has succeeded."""
        return any(pair.valid for pair in self._pairs.values())

    @property
    def has_work(self) -> bool:
        """Whether `next_pair` would give one."""
        if self._triggered or any(pair.state is PairState.WAITING for pair in self._pairs.values()):
            return True
        frozen = {pair.foundation for pair in self._pairs.values() if pair.state is PairState.FROZEN}
        return bool(frozen and frozen - self._active_foundations)

    @property
    def is_concluded(self) -> bool:
        """Whether a pair is nominated: then only triggered checks go on (RFC 8445 8.1.2)."""
        return any(pair.is_nominated for pair in self._pairs.values())

    @property
    def is_exhausted(self) -> bool:
        """Whether every pair has been checked to the end."""
        return not self._triggered and not any(pair.state in _PENDING for pair in self._pairs.values())

    @property
    def pending(self) -> int:
        """How many pairs wait for a check or an answer: N of RFC 8445 14.3."""
        return sum(pair.state in (PairState.WAITING, PairState.IN_PROGRESS) for pair in self._pairs.values())

    @property
    def progress(self) -> tuple[int, int]:
        """How many pairs have a result, and how many there are."""
        done = sum(pair.state not in _PENDING for pair in self._pairs.values())
        return done, len(self._pairs)

    def find(self, base: Endpoint, destination: Endpoint) -> CandidatePair | None:
        """Look up the pair of these two."""
        return self._pairs.get((base, destination))

    def add(self, pair: CandidatePair, role: Role) -> bool:
        """Take in a new pair; False when it is known or the list is full of better ones (RFC 8445 6.1.2.5).

        Its state follows RFC 8838 12: frozen, unless it is the best of its foundation or another one has succeeded.
        TCP is the last resort: a pair that comes when one over UDP is nominated isn't tried.
        """
        pair.prioritize(role)
        if pair.key in self._pairs or pair.key in self._expired or not self._make_room(pair):
            return False
        if pair.base.transport is not Transport.UDP and self._is_settled_over_udp:
            pair.state, pair.problem = PairState.FAILED, PairProblem.SUPERSEDED
            self._pairs[pair.key] = pair
            return True
        kin = [other for other in self._pairs.values() if other.foundation == pair.foundation]
        is_best = all(other.priority < pair.priority for other in kin)
        has_hope = any(other.state is PairState.SUCCEEDED for other in kin)
        pair.state = PairState.WAITING if is_best or has_hope else PairState.FROZEN
        if is_best and not has_hope:
            self._freeze_again(kin)
        self._pairs[pair.key] = pair
        return True

    def trigger(self, pair: CandidatePair) -> None:
        """Put `pair` into the triggered-check queue, once (RFC 8445 6.1.4.1)."""
        pair.state = PairState.WAITING
        if pair not in self._triggered:
            self._triggered.append(pair)

    def next_pair(self) -> CandidatePair | None:
        """Take the pair to check now: a triggered one, else the best waiting, else a frozen one (RFC 8445 6.1.4.2).

        After MAX_IN_A_ROW triggered ones it is another one's turn.
        """
        if self._triggered and self._in_a_row < MAX_IN_A_ROW:
            self._in_a_row += 1
            return self._triggered.popleft()
        self._in_a_row = 0
        ordinary = self._best(PairState.WAITING) or self._thawed()
        return self._triggered.popleft() if ordinary is None and self._triggered else ordinary

    def succeed(self, pair: CandidatePair) -> None:
        """Note a success and unfreeze the pairs of the same foundation (RFC 8445 7.2.5.3.3)."""
        self._forget_trigger(pair)
        pair.state = PairState.SUCCEEDED
        for other in self._pairs.values():
            if other.state is PairState.FROZEN and other.foundation == pair.foundation:
                other.state = PairState.WAITING

    def fail(self, pair: CandidatePair, problem: PairProblem) -> None:
        """Note a failure: the pair is no longer valid either (RFC 8445 7.2.5.2)."""
        self._forget_trigger(pair)
        pair.state = PairState.FAILED
        pair.valid = None
        pair.is_claimed = False
        pair.problem = problem

    def expire(self, pair: CandidatePair) -> None:
        """Take out a pair whose consent has expired, never to come back (RFC 7675 5.1), though its address may."""
        pair.is_expired = True
        self._expired.add(pair.key)

    def supersede(self) -> None:
        """Give up what hasn't succeeded: a pair is nominated (RFC 8445 8.1.2). What the peer nominated too goes on."""
        for pair in self._pairs.values():
            if pair.state in _PENDING and not pair.valid and not pair.is_claimed:
                self.fail(pair, PairProblem.SUPERSEDED)

    def retriable(self) -> list[CandidatePair]:
        """Give the failed pairs that another check may make valid, highest priority first."""
        return _by_priority(pair for pair in self._pairs.values() if _is_retriable(pair))

    def retry(self, pairs: Iterable[CandidatePair]) -> None:
        """Let these be checked once more."""
        for pair in pairs:
            pair.state = PairState.WAITING

    def retry_unanswered(self) -> None:
        """Let all that got no answer be checked once more: the other side may not have started yet."""
        self.retry(self.retriable())

    def prioritize(self, role: Role) -> None:
        """Compute every priority for our new `role` (RFC 8445 7.3.1.1)."""
        for pair in self._pairs.values():
            pair.prioritize(role)

    def replace_remote(self, old: Candidate, new: Candidate, role: Role) -> None:
        """Put `new` where `old` was, in place: state, nomination and queue stay (RFC 8838 11, step 4)."""
        for pair in self._pairs.values():
            if pair.remote is old:
                pair.remote = new
                pair.prioritize(role)

    def failed_remotes(self) -> set[Candidate]:
        """Give the remote candidates of which no pair is, or can still be, of use."""
        useful = {pair.remote for pair in self._pairs.values() if pair.state is not PairState.FAILED}
        return {pair.remote for pair in self._pairs.values()} - useful

    def remove_base(self, base: Endpoint) -> list[CandidatePair]:
        """Take out every pair of a local address that is gone; give them."""
        gone = [pair for pair in self._pairs.values() if pair.base == base]
        for pair in gone:
            self.remove(pair)
        return gone

    def remove(self, pair: CandidatePair) -> None:
        """Take a pair out."""
        self._forget_trigger(pair)
        del self._pairs[pair.key]

    @property
    def _active_foundations(self) -> set[tuple[str, str]]:
        return {pair.foundation for pair in self._pairs.values() if pair.state is PairState.IN_PROGRESS}

    def _best(self, state: PairState) -> CandidatePair | None:
        """Find the best pair in this state; those in the queue wait for their own turn."""
        candidates = (pair for pair in self._pairs.values() if pair.state is state and pair not in self._triggered)
        return max(candidates, key=lambda pair: pair.priority, default=None)

    def _thawed(self) -> CandidatePair | None:
        """Unfreeze the best pair of each foundation that has none under way; give the best of these."""
        active = self._active_foundations
        for pair in self.pairs:
            if pair.state is PairState.FROZEN and pair.foundation not in active:
                pair.state = PairState.WAITING
                active.add(pair.foundation)
        return self._best(PairState.WAITING)

    def _freeze_again(self, pairs: list[CandidatePair]) -> None:
        """Let what is waiting wait for a better pair: each foundation has one that goes first (RFC 8445 6.1.2.6)."""
        for pair in pairs:
            if pair.state is PairState.WAITING and pair not in self._triggered:
                pair.state = PairState.FROZEN

    @property
    def _is_settled_over_udp(self) -> bool:
        return any(pair.is_nominated and pair.base.transport is Transport.UDP for pair in self._pairs.values())

    def _make_room(self, pair: CandidatePair) -> bool:
        """Evict a failed pair, or else the worst untried one, when the list is full and `pair` is better."""
        if len(self._pairs) < self._max_pairs:
            return True
        evictable = [
            other
            for other in self._pairs.values()
            if other.state in _EVICTABLE and other not in self._triggered and not (other.valid or other.is_expired)
        ]
        victim = min(evictable, key=lambda other: (other.state is not PairState.FAILED, other.priority), default=None)
        if victim is None or (victim.state is not PairState.FAILED and victim.priority >= pair.priority):
            return False
        self.remove(victim)
        return True

    def _forget_trigger(self, pair: CandidatePair) -> None:
        if pair in self._triggered:
            self._triggered.remove(pair)


def _by_priority(pairs: Iterable[CandidatePair]) -> list[CandidatePair]:
    return sorted(pairs, key=attrgetter("priority"), reverse=True)


def _is_retriable(pair: CandidatePair) -> bool:
    return pair.state is PairState.FAILED and pair.problem in _RETRIABLE and not pair.is_expired
