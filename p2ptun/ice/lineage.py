"""The generations of one agent: the newest, which is looking for a path, and older ones that still carry or answer.

A restart is made before it breaks anything: the old pair carries data until the new generation has one; then the old
generation retires and answers late checks for a while.

Each side knows in advance what the other side's next credentials will be (`next_local`, `next_remote`, exchanged while
a tunnel works). So a restart needs no signalling: whoever begins checks with the next credentials, and the other side
recognises its own next user name in them. RFC 7675 5.1 forbids to go on with credentials whose consent has expired.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from p2ptun.deadlines import earliest
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.check import Refusal, read_check
from p2ptun.ice.config import AgentConfig, PathPolicy
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import DropReason
from p2ptun.ice.generation import Generation
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.nomination import best_pair
from p2ptun.ice.pacer import Pacer
from p2ptun.ice.pair import CandidatePair, PairProblem
from p2ptun.ice.role import Role, Stance
from p2ptun.ice.scope import signalled
from p2ptun.stun.attribute import USERNAME
from p2ptun.stun.message import Message
from p2ptun.types import Endpoint, IPNetwork, RandomBytes, Transmit

MAX_OLDER = 2  # our choice: one that carries, one that answers late checks

MAX_ANNOUNCED = 8
ANNOUNCED_WITHIN = 3.0
"""Seconds in which checks announce that many restarts at most. Since we tell each next name at once, a peer could make
us restart, and ask every server again, once a round trip; an honest one does so once a second in a network that never
rests."""


class Lineage:
    """Keeps generations in order and sorts what comes in to them."""

    def __init__(
        self,
        config: AgentConfig,
        credentials: Credentials,
        stance: Stance,
        local_candidates: LocalCandidates,
        random_bytes: RandomBytes,
        pacer: Pacer,
    ) -> None:
        self.newest = Generation(config, credentials, stance, local_candidates, random_bytes, pacer)
        self.next_local = Credentials.generate(random_bytes, credentials.generation + 1)
        self.next_remote: Credentials | None = None
        self._config = config
        self._stance = stance
        self._local_candidates = local_candidates
        self._random_bytes = random_bytes
        self._pacer = pacer
        self._older: list[Generation] = []
        self._refused = config.refused_networks
        self._carrier: CandidatePair | None = None
        self._retires_at: float | None = None
        self._announced: deque[float] = deque(maxlen=MAX_ANNOUNCED)
        self._barred: deque[Endpoint] = deque(maxlen=config.max_candidates)

    @property
    def generations(self) -> list[Generation]:
        """All of them, the newest first."""
        return [self.newest, *self._older]

    @property
    def active(self) -> list[Generation]:
        """Those that still send checks, the newest first."""
        return [generation for generation in self.generations if not generation.is_retired]

    @property
    def valid_pairs(self) -> list[CandidatePair]:
        """Every valid pair, those of the newest generation first, then by priority."""
        return [pair for generation in self.active for pair in generation.checklist.valid_pairs]

    @property
    def is_restarting(self) -> bool:
        """Whether the newest generation has no valid pair, and another one came before it."""
        return self.newest.local.generation > 0 and not self.newest.checklist.has_valid_pairs

    @property
    def is_settled(self) -> bool:
        """Whether a nominated pair of the newest generation carries data."""
        carrier = self._carrier
        return carrier is not None and carrier.is_nominated and self.of(carrier) is self.newest

    @property
    def local_ufrags(self) -> tuple[str, ...]:
        """Every user name fragment by which the peer may call us."""
        return (*(generation.local.ufrag for generation in self.generations), self.next_local.ufrag)

    def of(self, pair: CandidatePair) -> Generation:
        """Give the generation of a pair."""
        return next(each for each in self.generations if each.checklist.find(*pair.key) is pair)

    def find(self, base: Endpoint, destination: Endpoint) -> list[CandidatePair]:
        """Give the pairs of these two, one of each generation at most."""
        found = (generation.checklist.find(base, destination) for generation in self.active)
        return [pair for pair in found if pair is not None]

    def best(self, current: CandidatePair | None, is_healthy: bool) -> CandidatePair | None:
        """Choose what carries data: of the newest generation as soon as that is settled, or the old path is in doubt.

        Until then an old path that works stays: the first new pair may be a worse one. Who has left it doesn't go back
        as long as the new one isn't silent, or the two would take turns.
        """
        home = None if current is None else self._find_home(current)
        best = {each: best_pair(each.checklist.valid_pairs, self._stance.role) for each in self.active}
        new = best.pop(self.newest)
        is_free = home is None or home is self.newest or not is_healthy
        if new is not None and not new.is_silent and (new.is_nominated or is_free):
            return new
        old = sorted(best, key=lambda generation: generation is not home)
        pairs = [pair for generation in old if (pair := best[generation]) is not None]
        return next((pair for pair in pairs if not pair.is_silent), None) or new or next(iter(pairs), None)

    def begin(self) -> Credentials:
        """Begin the next generation; give its credentials.

        What the peer told so far goes into it when the peer's next credentials are known: its addresses are most
        likely the same.
        """
        self._age()
        credentials = self.next_local
        self.next_local = Credentials.generate(self._random_bytes, credentials.generation + 1)
        self._local_candidates.restamp(credentials)
        self.newest = Generation(
            self._config, credentials, self._stance, self._local_candidates, self._random_bytes, self._pacer
        )
        self.newest.remote_candidates.refused_networks = self._refused
        remote, self.next_remote = self.next_remote, None
        if remote is not None:
            self._meet(remote)
        return credentials

    def prepare(self, remote: Credentials) -> None:
        """Know the peer's next credentials; begin to check if they are what the newest generation waits for.

        Those of any other generation are of no use: the peer is ahead of us or behind, and will say so itself.
        """
        if remote.generation == self.newest.local.generation + 1:
            self.next_remote = remote
        elif remote.generation == self.newest.local.generation and self.newest.remote is None and self._older:
            self._meet(remote)

    def is_stale(self, credentials: Credentials) -> bool:
        """Tell whether a generation has these credentials of the peer already: they are no news."""
        return any(generation.remote == credentials for generation in self.generations)

    def give_up(self, pair: CandidatePair) -> None:
        """Leave a pair whose consent has expired, never to come back with the same credentials (RFC 7675 5.1).

        Unless there are no others: the path of a restart may die before the two sides have told each other the next
        ones. Then both would wait for ever, each for a check of the other.
        """
        generation = self.of(pair)
        if generation is self.newest and generation.local.generation > 0 and self.next_remote is None:
            generation.fail(pair, PairProblem.NO_ANSWER)
        else:
            generation.expire(pair)

    def add_remote_candidate(self, candidate: Candidate) -> DropReason | None:
        """Take in what the peer told; give the reason when it is refused.

        Where only direct paths are wanted, a relay of the peer's is barred: its checks may have come before its name.
        """
        if self._config.path_policy is not PathPolicy.DIRECT or candidate.type is not CandidateType.RELAYED:
            return self.newest.add_remote_candidate(candidate)
        barred = signalled(candidate.endpoint)
        if barred not in self._barred:
            self._barred.append(barred)
        for generation in self.generations:
            generation.remote_candidates.remove(barred)
            for pair in generation.checklist.pairs:
                if pair.remote.endpoint == barred:
                    generation.expire(pair)
        return DropReason.UNWANTED_RELAY

    def refuse(self, networks: tuple[IPNetwork, ...]) -> None:
        """Refuse remote candidates inside these from now on."""
        self._refused = networks
        for generation in self.generations:
            generation.remote_candidates.refused_networks = networks

    def switch_role(self) -> None:
        """Take the other role, in all generations."""
        self._stance.switch()
        for generation in self.active:
            generation.adapt_to_role()

    def announces_restart(self, request: Message, now: float) -> bool:
        """Tell whether an authentic check calls us by our next name: the peer has restarted, and not too often."""
        ufrag = (request.get(USERNAME) or "").partition(":")[0]
        if ufrag != self.next_local.ufrag or isinstance(read_check(request, self.next_local), Refusal):
            return False
        if len(self._announced) == MAX_ANNOUNCED and now - self._announced[0] < ANNOUNCED_WITHIN:
            return False
        self._announced.append(now)
        return True

    def receive_request(self, request: Message, source: Endpoint, base: Endpoint) -> DropReason | None:
        """Give a check to the generation that it names; to the newest when it names none."""
        if signalled(source) in self._barred:
            return DropReason.UNWANTED_RELAY
        ufrag = (request.get(USERNAME) or "").partition(":")[0]
        if ufrag == self.next_local.ufrag:
            return DropReason.FOREIGN_GENERATION  # it announced nothing; if it came too soon, it will be repeated
        named = (generation for generation in self.generations if generation.local.ufrag == ufrag)
        generation, role = next(named, self.newest), self._stance.role
        reason = generation.receive_request(request, source, base)
        self._adapt(generation, role)
        return reason

    def receive_response(self, response: Message, source: Endpoint, base: Endpoint, now: float) -> DropReason | None:
        """Give an answer to the generation that asked."""
        reason: DropReason | None = DropReason.UNKNOWN_TRANSACTION
        role = self._stance.role
        for generation in self.active:
            if reason is DropReason.UNKNOWN_TRANSACTION:
                reason = generation.receive_response(response, source, base, now)
                self._adapt(generation, role)
        return reason

    def set_carrier(self, pair: CandidatePair | None, now: float) -> None:
        """Know which pair carries data; let the old generations retire when it is a nominated one of the newest."""
        self._carrier = pair
        if self._older and self.is_settled and self._retires_at is None:
            self._retires_at = now + self._config.grace
            for generation in self._older:
                generation.retire()

    def handle_timeout(self, now: float) -> None:
        """Do what is due in each generation, and forget those whose time is over."""
        for generation in self.generations:
            generation.handle_timeout(self._carrier, now)
        if self._retires_at is not None and self._retires_at <= now:
            self._retires_at = None
            self._older.clear()

    def pace(self, now: float) -> None:
        """Begin the next checks."""
        for generation in self.active:
            generation.pace(now)

    def next_transmit(self) -> Transmit | None:
        """Give a datagram to send."""
        for generation in self.generations:
            if (transmit := generation.next_transmit()) is not None:
                return transmit
        return None

    def next_check_at(self) -> float | None:
        """Tell when `pace` has something to do."""
        return earliest(generation.next_check_at() for generation in self.active)

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return earliest([self._retires_at, *(generation.next_timeout() for generation in self.generations)])

    def _find_home(self, pair: CandidatePair) -> Generation | None:
        return next((each for each in self.active if each.checklist.find(*pair.key) is pair and pair.valid), None)

    def _adapt(self, origin: Generation, role: Role) -> None:
        """Let the other generations know when `origin` has switched our role, which they share."""
        for generation in self.active:
            if generation is not origin and self._stance.role is not role:
                generation.adapt_to_role()

    def _age(self) -> None:
        """Keep the newest generation beside its successor, and the one that carries data, however old it is.

        Restarts may follow upon each other faster than any of them finds a path.
        """
        carrying = None if self._carrier is None else self.of(self._carrier)
        for old in self._older:
            if old is not carrying:
                old.retire()
        kept = [old for old in self._older if old is carrying] or self._older
        self._older = [self.newest, *kept][:MAX_OLDER]
        self._retires_at = None

    def _meet(self, remote: Credentials) -> None:
        """Let the newest generation check with these credentials, the addresses of the one before."""
        self.newest.set_remote_credentials(remote)
        for candidate in self._older[0].remote_candidates:
            self.newest.add_remote_candidate(_restamped(candidate, remote))


def _restamped(candidate: Candidate, credentials: Credentials) -> Candidate:
    return replace(candidate, generation=credentials.generation, ufrag=credentials.ufrag)
