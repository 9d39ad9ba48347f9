"""The search for a path between NATs that checks alone don't get through.

One side's mappings depend on the destination, the other side filters: no check ever reaches a mapping that was made for
it. When no direct pair has worked after a while, and both sides want to, the first opens many sockets and sends from
each to the other's public endpoint, and the other sends to ports of the first's public address. One packet that gets
through is enough: it is a check, and the check that answers it makes the pair.

Never more than 200 packets a second, which the pacer sees to, nor MAX_PROBES in one attempt. A relay, if there is one,
carries the traffic meanwhile.

The other side names the address that is searched, and can give reasons to begin anew as often as it likes. So what is
sent in the long run has a budget of its own, which nothing fills up but time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from p2ptun.ice.budget import Budget
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.check import encode_check
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.event import Event, SparesReleased, SparesWanted
from p2ptun.ice.gatherer import Gatherer
from p2ptun.ice.lineage import Lineage
from p2ptun.ice.nat_hint import NatHint
from p2ptun.ice.pacer import MIN_PACE, Pacer
from p2ptun.ice.port_search import Approach, choose_approach, guesses, meeting_points
from p2ptun.ice.quality import rank
from p2ptun.ice.role import Role, Stance
from p2ptun.ice.scope import INSIDE_NETWORKS, is_refused
from p2ptun.stun.message import new_transaction_id
from p2ptun.types import Endpoint, RandomBytes, Transmit, Transport

MAX_PROBES = 2000  # in one attempt
MAX_ATTEMPTS = 5  # in quick succession: what the pauses allow in the first six minutes
RECOVERY = 600.0  # seconds until there may be one more, whatever the reason
SPARES = 256  # sockets that make mappings
START_DELAY = 2.0  # seconds for ordinary checks, which find most paths in a tenth of that
ROUND_INTERVAL = 20.0  # seconds: mappings are made anew before a usual NAT forgets them
PAUSE = (20.0, 3600.0)  # seconds between two attempts: at first short, since the other side may not have begun
MAX_TARGETS = 2  # endpoints of the other side that mappings are made for
OPENING_PATIENCE = 1.0  # seconds in which the first spare socket has to come
DIRECT = 1  # the highest rank of a pair without a relay


class Phase(Enum):
    """Where the search stands."""

    RESTING = "resting"  # nothing to search for
    WAITING = "waiting"  # for ordinary checks, or for the next attempt
    SEARCHING = "searching"


@dataclass(slots=True)
class _Attempt:
    """What is still to be sent in one attempt: to `destinations`, or from the spare sockets in `openings`."""

    approach: Approach | None = None
    destinations: Iterator[Endpoint] = field(default_factory=lambda: iter(()))
    openings: deque[Endpoint] = field(default_factory=deque)
    left: int = 0


class HardNat:
    """One agent's port search. `remote` is what the other side told of its NAT."""

    def __init__(
        self,
        config: AgentConfig,
        stance: Stance,
        gatherer: Gatherer,
        lineage: Lineage,
        random_bytes: RandomBytes,
        pacer: Pacer,
        events: deque[Event],
    ) -> None:
        self.remote = NatHint()
        self._is_enabled = config.hard_nat
        self._stance = stance
        self._gatherer = gatherer
        self._lineage = lineage
        self._random_bytes = random_bytes
        self._pacer = pacer
        self._events = events
        self._phase = Phase.RESTING
        self._attempt = _Attempt()
        self._budget = Budget(MAX_ATTEMPTS * MAX_PROBES, RECOVERY / MAX_PROBES)
        self._pause = PAUSE[0]
        self._next_at: float | None = None
        self._transmits: deque[Transmit] = deque()

    @property
    def hint(self) -> NatHint:
        """What the other side is told of our NAT."""
        return self._gatherer.nat_hint(self._is_enabled)

    @property
    def is_searching(self) -> bool:
        """Whether an attempt is under way, which may still succeed."""
        return self._phase is Phase.SEARCHING

    def add_spare(self, base: Endpoint, now: float) -> None:
        """Take a socket that was asked for; it is released at once when it isn't wanted any more."""
        if self._attempt.approach is not Approach.OPEN or not self._gatherer.candidates.add_spare(base, SPARES):
            self._events.append(SparesReleased((base,)))
            return
        if not self._attempt.openings:
            self._next_at = self._pacer.reserve(now + MIN_PACE)
        self._attempt.openings.append(base)

    def rouse(self, now: float) -> None:
        """Begin anew soon: the network has changed."""
        self._pause = PAUSE[0]
        if self._phase is Phase.WAITING:
            self._next_at = now + START_DELAY

    def rest(self) -> None:
        """Search no more, until there is a reason to."""
        self._release()
        self._phase, self._next_at, self._pause = Phase.RESTING, None, PAUSE[0]

    def close(self) -> None:
        """Give back what was found, too: nobody else uses these sockets."""
        self.rest()
        if kept := self._gatherer.candidates.kept:
            self._events.append(SparesReleased(kept))

    def settle(self, now: float) -> None:
        """Begin or end the search, as what has happened suggests."""
        self._keep_found(now)
        has_approach = self.is_searching or self._approach is not None  # the cheap questions come first
        is_wanted = self._is_willing and has_approach and not self._has_direct_path
        if not is_wanted and self._phase is not Phase.RESTING:
            self.rest()
        elif is_wanted and self._phase is Phase.RESTING:
            self._phase, self._next_at = Phase.WAITING, now + START_DELAY

    def handle_timeout(self, now: float) -> None:
        """Send the next probe, or begin or end an attempt."""
        if self._next_at is None or now < self._next_at:
            return
        if self._phase is not Phase.WAITING:
            self._probe(now)
        elif now < (ready_at := self._budget.ready_at(MAX_PROBES)):
            self._next_at = ready_at
        else:
            self._begin(now)

    def next_transmit(self) -> Transmit | None:
        """Give a probe to send."""
        return self._transmits.popleft() if self._transmits else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return self._next_at

    @property
    def _is_willing(self) -> bool:
        """Whether both sides take part; most never do."""
        return self._is_enabled and self.remote.has_search and self._lineage.newest.remote is not None

    @property
    def _approach(self) -> Approach | None:
        """What to do, if anything."""
        approach = choose_approach(self.hint, self.remote)
        return approach if approach is not None and self._theirs and self._base is not None else None

    @property
    def _has_direct_path(self) -> bool:
        return any(rank(pair) <= DIRECT for pair in self._lineage.valid_pairs)

    @property
    def _theirs(self) -> list[Endpoint]:
        """Where servers saw the other side, in the order in which it asked them."""
        told = sorted(self._lineage.newest.remote_candidates, key=lambda candidate: -candidate.priority)
        return [each.endpoint for each in told if _is_seen_from_outside(each)]

    @property
    def _base(self) -> Endpoint | None:
        """The socket whose public endpoint the other side knows best."""
        ours = (each for each in self._gatherer.candidates if _is_seen_from_outside(each))
        best = max(ours, key=lambda candidate: candidate.priority, default=None)
        return None if best is None else best.base

    def _begin(self, now: float) -> None:
        approach, base, theirs = self._approach, self._base, self._theirs
        self._phase, self._attempt = Phase.SEARCHING, _Attempt(approach, left=MAX_PROBES)
        self._next_at = self._pacer.reserve(now + MIN_PACE)
        if approach is Approach.OPEN and base is not None:
            self._events.append(SparesWanted(base, SPARES))
            self._next_at = now + OPENING_PATIENCE
        elif approach is Approach.GUESS:
            self._attempt.destinations = guesses(theirs, self.remote.delta, self._random_bytes)
        else:
            is_steady = self._stance.role is Role.CONTROLLING
            self._attempt.destinations = meeting_points(theirs[-1], self.remote.delta, is_steady=is_steady)

    def _probe(self, now: float) -> None:
        """Send what is next, and take a turn for what follows; end the attempt when nothing does.

        What either side knows of the NATs may have changed since it began: then there is nothing to search for.
        """
        if self._approach is not self._attempt.approach:
            self.rest()
            return
        probes = self._next_probes()
        if probes and len(probes) <= self._attempt.left:
            self._attempt.left -= len(probes)
            self._budget.spend(len(probes), now)
            for base, destination in probes:
                self._send(base, destination)
            self._next_at = max(self._pacer.reserve(now + MIN_PACE) for _ in probes)
        elif self._attempt.left >= MAX_TARGETS * len(self._gatherer.candidates.spares) > 0:
            self._attempt.openings.extend(self._gatherer.candidates.spares)
            self._next_at = now + ROUND_INTERVAL
        else:
            self._release()
            self._phase, self._next_at = Phase.WAITING, now + self._pause
            self._pause = min(2 * self._pause, PAUSE[1])

    def _next_probes(self) -> list[tuple[Endpoint, Endpoint]]:
        """Give the next base with all targets, or our base with the next guess."""
        if self._attempt.openings:
            base = self._attempt.openings.popleft()
            return [(base, target) for target in self._theirs[:MAX_TARGETS]]
        guess, best = next(self._attempt.destinations, None), self._base
        return [] if guess is None or best is None else [(best, guess)]

    def _send(self, base: Endpoint, destination: Endpoint) -> None:
        newest, candidates = self._lineage.newest, self._gatherer.candidates
        if newest.remote is None or candidates.at(base) is None:
            return
        transaction_id, priority = new_transaction_id(self._random_bytes), candidates.check_priority(base)
        payload = encode_check(transaction_id, newest.local, newest.remote, self._stance, priority, None)
        self._transmits.append(Transmit(payload, base, destination))

    def _keep_found(self, now: float) -> None:
        """Make an ordinary socket of a spare one that works: a restart shall know it, too."""
        spares = self._gatherer.candidates.spares
        if spares:
            for base in {pair.base for pair in self._lineage.valid_pairs}.intersection(spares):
                self._gatherer.keep_spare(base, now)

    def _release(self) -> None:
        self._attempt = _Attempt()
        spares = self._gatherer.candidates.spares
        if spares:
            self._events.append(SparesReleased(spares))


def _is_seen_from_outside(candidate: Candidate) -> bool:
    """Tell whether a candidate is where the internet sees a socket: through a NAT of IPv4, or behind a firewall."""
    is_fit = candidate.transport is Transport.UDP and candidate.endpoint.address.version == 4
    is_public = candidate.type is CandidateType.HOST and not is_refused(candidate.endpoint, INSIDE_NETWORKS)
    return is_fit and (is_public or candidate.type is CandidateType.SERVER_REFLEXIVE)
