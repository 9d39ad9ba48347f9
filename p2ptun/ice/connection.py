"""The search for a path and the watch over it, across restarts: which pair carries data, and what to do when none does.

Everything that decides is here; `Lineage` knows the checks, `Path` the pair that carries data, `Lookout` when to look
for a better one.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum

from p2ptun.deadlines import Deadlines, earliest
from p2ptun.ice.config import PAC_TIMEOUT, AgentConfig, RemoteOptions
from p2ptun.ice.consent import Liveness
from p2ptun.ice.event import (
    AgentState,
    Event,
    FailureReason,
    Restarted,
    RestartReason,
    RoleChanged,
    StandbyChanged,
    StateChanged,
)
from p2ptun.ice.generation import Generation
from p2ptun.ice.hard_nat import HardNat
from p2ptun.ice.lineage import Lineage
from p2ptun.ice.lookout import Lookout, worth_another_check
from p2ptun.ice.nomination import pair_to_nominate
from p2ptun.ice.pair import CandidatePair, PairProblem, PairState, is_fatal
from p2ptun.ice.path import Path
from p2ptun.ice.quality import is_worth_a_move, rank
from p2ptun.ice.role import Role, Stance
from p2ptun.ice.tcp import initiates
from p2ptun.types import Endpoint, RandomBytes

logger = logging.getLogger(__name__)

OUTSIDE_INTERVAL = 1.0
"""Least time between two restarts that the owner asks for because of the network: flapping links mustn't own us."""

HASTE_INTERVAL = 1.0
"""Least time between two rounds of checks for packets that wait while the peer is lost: who types shall not wait."""

MAX_MEASURED = 5  # our choice: valid pairs whose round trip is measured in one search

_LIVENESS_STATES = {
    Liveness.ALIVE: AgentState.CONNECTED,
    Liveness.IDLE: AgentState.IDLE,
    Liveness.SUSPECT: AgentState.SUSPECT,
}
_OWN_ACCORD = (RestartReason.SUSPECT, RestartReason.CONSENT_EXPIRED, RestartReason.UPGRADE)
_AT_ONCE = (RestartReason.REQUESTED, RestartReason.PEER)


class Timer(Enum):
    """What an agent waits for."""

    CHECK = "check"  # the next check, Ta after the last one
    RETRANSMIT = "retransmit"  # of a check, or its end
    GATHERING = "gathering"  # a server's answer, or the renewal of a binding
    CONSENT = "consent"
    PAC = "pac"  # the end of patience, RFC 8863
    RETRY = "retry"  # of pairs that stayed unanswered, once a path was lost
    RESTART = "restart"  # one that came too soon after another
    SEARCH = "search"  # for a better pair
    PROBE = "probe"  # of a port search
    PERSIST = "persist"  # the end of checking often while the peer may not have begun


@dataclass(slots=True)
class _Rhythm:
    """When what must not come too often has come last, and how long to pause before unanswered pairs are retried."""

    retry_pause: float
    restarted_at: float = float("-inf")
    hastened_at: float = float("-inf")


class Connection:
    """Selects, nominates, watches, restarts. `settle` draws the conclusions of whatever has just happened."""

    def __init__(
        self,
        config: AgentConfig,
        stance: Stance,
        lineage: Lineage,
        hard_nat: HardNat,
        random_bytes: RandomBytes,
        events: deque[Event],
    ) -> None:
        """Begin with nothing; what happens is added to `events`."""
        self.lineage = lineage
        self.hard_nat = hard_nat
        self.path = Path(config, random_bytes)
        self.state = AgentState.NEW
        self.events = events
        self.options = RemoteOptions()
        self._config = config
        self._stance = stance
        self._announced_role = stance.role
        self._random_bytes = random_bytes
        self._lookout = Lookout(config.upgrade_interval)
        self._deadlines: Deadlines[Timer] = Deadlines()
        self._pending: RestartReason | None = None
        self._rhythm = _Rhythm(config.retry_interval[0])
        self._has_lost = False

    @property
    def newest(self) -> Generation:
        """The generation that looks for a path."""
        return self.lineage.newest

    @property
    def is_over(self) -> bool:
        """Whether nothing goes on any more."""
        return self.state in (AgentState.FAILED, AgentState.CLOSED)

    # Commands

    def be_patient(self, now: float) -> None:
        """Restart the PAC timer: something new may still succeed (RFC 8863 4). Look for better pairs anew, too."""
        if self.newest.remote is not None:
            self._deadlines.set(Timer.PAC, now + self._config.pac_timeout)
        # a check that is given up lasts as long as PAC_TIMEOUT
        spare_time = min(self._config.persistence, self._config.pac_timeout - PAC_TIMEOUT)
        if spare_time > 0 and self.state in (AgentState.NEW, AgentState.CHECKING) and not self._has_lost:
            self._deadlines.set_earlier(Timer.PERSIST, now + spare_time)
        if self.path.pair is not None:
            self._lookout.rouse(now)
        self.hard_nat.rouse(now)

    def restart(self, reason: RestartReason, now: float) -> bool:
        """Begin the next generation, or hasten the one that has just begun; False when it has to wait or can't be."""
        if self.state is AgentState.CLOSED:
            return False
        if self.lineage.is_restarting and reason is not RestartReason.PEER:
            self._hasten(now)
            return True
        if reason in _OWN_ACCORD and self.lineage.next_remote is None and reason is not RestartReason.UPGRADE:
            return False
        due_at = self._rhythm.restarted_at + self._least_interval(reason)
        if now < due_at:
            self._pending = reason
            self._deadlines.set_earlier(Timer.RESTART, due_at)
            return False
        self._begin(reason, now)
        return True

    def request_consent(self, now: float) -> None:
        """Make a packet go that waits: ask for consent, or look for a lost peer at once."""
        self.path.request_consent(now)
        if self.path.pair is None and self._has_lost and now >= self._rhythm.hastened_at + HASTE_INTERVAL:
            self._hasten(now)

    def lose_base(self, base: Endpoint) -> None:
        """Forget a socket: no pair of it is of use any more."""
        for generation in self.lineage.generations:
            generation.remove_base(base)

    def blame(self, base: Endpoint, remote: Endpoint, problem: PairProblem, now: float) -> None:
        """Note what the kernel said of a datagram. A passive TCP base can't open another connection."""
        for pair in self.lineage.find(base, remote):
            pair.blame(problem)
            if not is_fatal(problem, base):
                continue
            if pair is self.path.pair:
                self.path.refuse(now)
            elif pair.state is PairState.IN_PROGRESS or not initiates(pair.local):
                self.lineage.of(pair).fail(pair, problem)

    def close(self) -> None:
        """Stop for good."""
        if self.state is not AgentState.CLOSED:
            self._finish(AgentState.CLOSED)
            self.hard_nat.close()

    # Inputs

    def handle_timeout(self, now: float) -> None:
        """Act on everything that is due; `settle` is to follow."""
        self.lineage.handle_timeout(now)
        self.path.handle_timeout(now)
        self.hard_nat.handle_timeout(now)
        if self._deadlines.at(Timer.PERSIST) is not None:
            self.newest.persist()
        for timer in self._deadlines.pop_expired(now):
            match timer:
                case Timer.RETRY:
                    self.newest.checklist.retry_unanswered()
                case Timer.RESTART:
                    reason, self._pending = self._pending, None
                    if reason is not None and not (reason in _OWN_ACCORD and self.path.is_healthy):
                        self.restart(reason, now)
                case _:
                    pass  # PAC, PERSIST: others ask whether they still run

    def settle(self, may_grow: bool, now: float) -> None:
        """Draw the conclusions; `may_grow` tells whether candidates may still come, from us or from the peer."""
        if (revoked := self.path.pair) is not None and revoked.is_expired:
            self._lose(revoked, now)
        if self.is_over:
            return
        if self._announced_role is not self._stance.role:
            self._announced_role = self._stance.role
            self.events.append(RoleChanged(self._announced_role))
        self._select(now)
        self._nominate(may_grow, now)
        for pair in self.path.take_checks(self.lineage.valid_pairs, now):
            self.lineage.of(pair).check_consent(pair, now)
        self._judge(may_grow, now)
        if not self.is_over:
            self._search(now)
            self.hard_nat.settle(now)
            self.lineage.pace(now)

    def next_timeout(self) -> float | None:
        """Tell the earliest of `timeouts`, which it doesn't build: after every batch of packets somebody asks."""
        times = (
            self._deadlines.next(),
            self.lineage.next_check_at(),
            self.lineage.next_timeout(),
            self.path.next_timeout(),
            self._search_at,
            self.hard_nat.next_timeout(),
        )
        return earliest(times)

    def timeouts(self) -> dict[Timer, float | None]:
        """Tell when what is due."""
        return {
            **{timer: self._deadlines.at(timer) for timer in (Timer.PAC, Timer.RETRY, Timer.RESTART, Timer.PERSIST)},
            Timer.CHECK: self.lineage.next_check_at(),
            Timer.RETRANSMIT: self.lineage.next_timeout(),
            Timer.CONSENT: self.path.next_timeout(),
            Timer.SEARCH: self._search_at,
            Timer.PROBE: self.hard_nat.next_timeout(),
        }

    # Below: selecting and nominating

    @property
    def _search_at(self) -> float | None:
        return self._lookout.next_at if self.path.liveness is Liveness.ALIVE else None

    def _select(self, now: float) -> None:
        """Let the best valid pair carry data, and another one stand ready."""
        valid_pairs, before = self.lineage.valid_pairs, self.path.pair
        self.path.judge(valid_pairs)
        event = self.path.select(self.lineage.best(self.path.pair, self.path.is_healthy), now)
        if event is not None:
            self.events.append(event)
            self._lookout.rouse(now)
            self._deadlines.cancel(Timer.PERSIST)
            self._rhythm.retry_pause = self._config.retry_interval[0]
            self._deadlines.cancel(Timer.RETRY)
        self._has_lost |= before is not None and self.path.pair is None
        self.lineage.set_carrier(self.path.pair, now)
        if self.path.keep_ready(self.lineage.valid_pairs, now):
            self.events.append(StandbyChanged(self.path.standby))

    def _nominate(self, may_grow: bool, now: float) -> None:
        if self._stance.role is Role.CONTROLLED or self.newest.is_nominating:
            return
        max_copies = self._config.max_delaying_copies
        may_grow = may_grow and self._is_patient
        pair = pair_to_nominate(self.newest.checklist.pairs, self._stance.role, max_copies, may_grow)
        pair = pair or self._pair_to_renominate()
        if pair is not None:
            self.newest.nominate(pair, self.options)

    def _pair_to_renominate(self) -> CandidatePair | None:
        """Choose a pair to move to without a restart: where we had to move already, or a better one."""
        selected = self.path.pair
        if not self.options.has_renomination or selected is None or self.lineage.of(selected) is not self.newest:
            return None
        if not self.newest.has_chosen(selected):
            return selected if self.newest.checklist.is_concluded and not selected.is_silent else None
        return self._better_than(selected)

    def _better_than(self, selected: CandidatePair) -> CandidatePair | None:
        """Find the pair that is worth a move most, while the path is in use."""
        if self.path.liveness is not Liveness.ALIVE:
            return None
        others = (pair for pair in self.newest.checklist.valid_pairs if pair is not selected and not pair.is_silent)
        better = [pair for pair in others if is_worth_a_move(pair, selected)]
        return min(better, key=lambda pair: (rank(pair), pair.quality.cost), default=None)

    def _search(self, now: float) -> None:
        """Check again what may be better than what we have, and measure what stands beside it."""
        selected = self.path.pair
        if selected is None or self.path.liveness is not Liveness.ALIVE or not self._lookout.take(now):
            return
        generation = self.lineage.of(selected)
        failed = generation.checklist.retriable()
        generation.checklist.retry(worth_another_check(failed, selected, self.path.standby_pair is not None))
        for pair in generation.checklist.valid_pairs[:MAX_MEASURED]:
            if pair is not selected:
                generation.check_consent(pair, now)
        better = self._better_than(selected)
        is_stuck = better is not None and not self.options.has_renomination
        if is_stuck and self._stance.role is Role.CONTROLLING and rank(better or selected) < rank(selected):
            self.restart(RestartReason.UPGRADE, now)

    # Below: judging

    def _judge(self, may_grow: bool, now: float) -> None:
        """Derive the state from what the parts know."""
        liveness, expired = self.path.liveness, self.path.expired
        if expired is not None:
            self._lose(expired, now)
        elif liveness is not None:
            was_suspect = self.state is AgentState.SUSPECT
            self._enter(_LIVENESS_STATES[liveness])
            if liveness is Liveness.SUSPECT and not was_suspect:
                self.restart(RestartReason.SUSPECT, now)
        elif self.newest.remote is not None or self._has_lost:
            self._enter(AgentState.CHECKING)
            self._judge_checks(may_grow, now)

    def _judge_checks(self, may_grow: bool, now: float) -> None:
        """Fail when nothing can succeed any more; until then let what stayed unanswered be tried again.

        Once there was a path, whoever is at its other end is worth waiting for.
        """
        if not self.newest.checklist.is_exhausted:
            return
        if self._has_lost or self.newest.local.generation > 0:
            if self._deadlines.at(Timer.RETRY) is None:
                self._deadlines.set(Timer.RETRY, now + self._rhythm.retry_pause)
                self._rhythm.retry_pause = min(2 * self._rhythm.retry_pause, self._config.retry_interval[1])
        elif self._is_patient or may_grow or self.hard_nat.is_searching:
            self.newest.checklist.retry_unanswered()
        else:
            self._finish(AgentState.FAILED, FailureReason.NO_PATH)

    def _lose(self, pair: CandidatePair, now: float) -> None:
        """Leave a pair whose consent has expired: for another valid one, or for a restart."""
        self.lineage.give_up(pair)
        self._select(now)
        if self.path.pair is not None:
            return
        if self.restart(RestartReason.CONSENT_EXPIRED, now) or self._pending is not None:
            self._enter(AgentState.CHECKING, FailureReason.CONSENT_EXPIRED)
        else:
            self._finish(AgentState.FAILED, FailureReason.CONSENT_EXPIRED)

    @property
    def _is_patient(self) -> bool:
        """Whether the PAC timer runs."""
        return self._deadlines.at(Timer.PAC) is not None

    # Below: restarting and ending

    def _least_interval(self, reason: RestartReason) -> float:
        if reason in _AT_ONCE:
            return 0.0
        return self._config.restart_interval if reason in _OWN_ACCORD else OUTSIDE_INTERVAL

    def _begin(self, reason: RestartReason, now: float) -> None:
        self._rhythm.restarted_at = now
        self._pending = None
        self._deadlines.cancel(Timer.RESTART)
        if self.state is AgentState.FAILED:
            self._has_lost = True
            self._enter(AgentState.CHECKING)
        self.events.append(Restarted(self.lineage.begin(), reason))
        self._hasten(now)

    def _hasten(self, now: float) -> None:
        """Check everything at once: pairs of the new generation, and whether the old path still works."""
        self._rhythm.hastened_at = now
        self._rhythm.retry_pause = self._config.retry_interval[0]
        self._deadlines.cancel(Timer.RETRY)
        self.newest.hasten()
        self.path.doubt(now)
        self.be_patient(now)

    def _enter(self, state: AgentState, reason: FailureReason | None = None) -> None:
        if state is not self.state:
            logger.debug("%s -> %s", self.state.value, state.value)
            self.state = state
            self.events.append(StateChanged(state, reason))

    def _finish(self, state: AgentState, reason: FailureReason | None = None) -> None:
        self._enter(state, reason)
        self._deadlines.clear()
        self._lookout.rest()
        self.hard_nat.rest()
        self.path = Path(self._config, self._random_bytes)
