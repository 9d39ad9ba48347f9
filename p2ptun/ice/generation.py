"""One generation of ICE: two pairs of credentials, the pairs they allow, and the checks on them (RFC 8445 7).

A restart makes another generation beside this one; all that a restart replaces lives here, what survives it (sockets,
bindings at servers, role) is the agent's. An old generation retires when its successor has a nominated pair: it answers
checks that were under way, and sends none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from p2ptun.errors import LocalProtocolError
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.check import (
    InboundCheck,
    Refusal,
    encode_check,
    encode_role_conflict,
    encode_success,
    is_authentic_answer,
    read_check,
)
from p2ptun.ice.checklist import Checklist
from p2ptun.ice.config import CHECK_RTO, AgentConfig, RemoteOptions
from p2ptun.ice.credential import Credentials
from p2ptun.ice.early import Early
from p2ptun.ice.event import DropReason
from p2ptun.ice.exchange import Check, Exchange, Purpose
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.nomination import Nominations
from p2ptun.ice.pacer import Cadence, Pacer
from p2ptun.ice.pair import CandidatePair, PairProblem, PairState, ValidPair
from p2ptun.ice.remote import RemoteCandidates
from p2ptun.ice.role import Resolution, Role, Stance
from p2ptun.ice.scope import destination_from
from p2ptun.ice.tcp import can_pair, initiates, learnt_type
from p2ptun.stun.attribute import ERROR_CODE, XOR_MAPPED_ADDRESS
from p2ptun.stun.error import Code
from p2ptun.stun.message import Message, MessageClass, new_transaction_id
from p2ptun.stun.transaction import LAST_WAIT, REQUEST_COUNT, Transaction
from p2ptun.types import Endpoint, RandomBytes, Transmit, Transport

TRANSACTION_RTOS = (1 << REQUEST_COUNT - 1) - 1 + LAST_WAIT  # how many RTOs a transaction lasts: RFC 8489 6.2.1

UNHEARD_COPIES = 3
"""Copies of a check before it is made anew, while nothing is heard of the peer: 1 s is the longest wait then."""


class Generation:
    """Checks pairs and answers checks. Its owner asks `checklist` and `local`/`remote` what has become of them."""

    def __init__(
        self,
        config: AgentConfig,
        credentials: Credentials,
        stance: Stance,
        local_candidates: LocalCandidates,
        random_bytes: RandomBytes,
        pacer: Pacer,
    ) -> None:
        self.local = credentials
        self.remote: Credentials | None = None
        self.checklist = Checklist(config.max_pairs)
        self.remote_candidates = RemoteCandidates(config.max_candidates, config.refused_networks)
        self.has_all_remote = False
        self.is_retired = False
        self._config = config
        self._stance = stance
        self._local_candidates = local_candidates
        self._random_bytes = random_bytes
        self._exchange = Exchange()
        self._early = Early(config.max_candidates)
        self._nominations = Nominations()
        self._answers: deque[Transmit] = deque()
        self._cadence = Cadence(pacer)

    @property
    def is_nominating(self) -> bool:
        """Whether a nomination waits for its answer."""
        return self._nominations.pending is not None

    def has_chosen(self, pair: CandidatePair) -> bool:
        """Tell whether `pair` is the one that was nominated last."""
        return self._nominations.has_chosen(pair)

    def add_local_candidate(self, host: Candidate) -> None:
        """Pair a new host candidate with all remote ones. Reflexive ones are represented by it (RFC 8445 6.1.2.4)."""
        for remote in self.remote_candidates:
            self._pair(host, remote)

    def remove_base(self, base: Endpoint) -> None:
        """Drop the pairs of a socket that is gone."""
        for pair in self.checklist.remove_base(base):
            pair.valid = None
            self._forget(pair)

    def set_remote_credentials(self, credentials: Credentials) -> list[DropReason]:
        """Begin: act upon the candidates and checks that came early. Give why some of them are dropped."""
        self.remote = credentials
        candidates, checks = self._early.take()
        reasons = [self.add_remote_candidate(candidate) for candidate in candidates]
        reasons += [self._learn(check, base, source) for (base, source), check in checks.items()]
        return [reason for reason in reasons if reason is not None]

    def add_remote_candidate(self, candidate: Candidate) -> DropReason | None:
        """Take in a signalled candidate and pair it; give the reason when it is refused."""
        if self.remote is None:
            return None if self._early.keep_candidate(candidate) else DropReason.TOO_MANY
        if candidate.ufrag and candidate.ufrag != self.remote.ufrag:
            return DropReason.FOREIGN_GENERATION
        if self.remote_candidates.is_refused(candidate):
            return DropReason.REFUSED_SOURCE
        known = self.remote_candidates.find(candidate.endpoint)
        if known is None:
            self.remote_candidates.forget_one(self.checklist.failed_remotes(), learnt=False)
            added = self.remote_candidates.add(candidate)
            if added is None:
                return DropReason.TOO_MANY
            for host in self._local_candidates.bases:
                self._pair(host, added)
        elif known.type is CandidateType.PEER_REFLEXIVE:
            told = self.remote_candidates.upgrade(known, candidate)
            self.checklist.replace_remote(known, told, self._stance.role)
        return None

    def remove_remote_candidate(self, candidate: Candidate) -> None:
        """Forget a candidate that the peer has withdrawn, with the pairs on which nothing was heard."""
        known = self.remote_candidates.remove(candidate.endpoint)
        for pair in self.checklist.pairs:
            if pair.remote is known and not pair.valid:
                self.checklist.remove(pair)
                self._forget(pair)

    def nominate(self, pair: CandidatePair, options: RemoteOptions) -> None:
        """Tell the peer, with the next check, that this valid pair is the one (RFC 8445 8.1.1)."""
        self._nominations.choose(pair, options.has_renomination)

    def check_consent(self, pair: CandidatePair, now: float) -> None:
        """Send one consent check (RFC 7675 5.1)."""
        pair.quality.record_check(now)
        self._send_check(pair, Purpose.CONSENT, now)

    def fail(self, pair: CandidatePair, problem: PairProblem) -> None:
        """Give a pair up, with its checks."""
        self._abandon(pair)
        self._exchange.quiet(pair)
        self.checklist.fail(pair, problem)

    def expire(self, pair: CandidatePair) -> None:
        """Give a pair up for good: consent to send on it has expired, and with it these credentials for it."""
        self.fail(pair, PairProblem.EXPIRED)
        self.checklist.expire(pair)
        self._exchange.forget(pair)

    def hasten(self) -> None:
        """Check everything that isn't valid anew, at once: the network has changed, old waiting times mean nothing."""
        self._cadence.hasten()
        for pair in self.checklist.pairs:
            if not pair.valid and not pair.is_expired and initiates(pair.local):
                self._exchange.quiet(pair)
                self.checklist.trigger(pair)

    def persist(self) -> None:
        """Check anew what has been asked UNHEARD_COPIES times while the peer has shown nothing of itself.

        It may not have begun yet, and its NAT lets our next check in once it has: that one shouldn't be half a minute
        away, as it soon is when every wait is twice the last one.
        """
        if not self._exchange.has_asked(UNHEARD_COPIES) or any(pair.is_heard for pair in self.checklist.pairs):
            return
        for pair in self.checklist.pairs:
            if pair.state is PairState.IN_PROGRESS and pair.attempts >= UNHEARD_COPIES:
                self._exchange.quiet(pair)
                pair.state = PairState.WAITING

    def adapt_to_role(self) -> None:
        """Recompute what the role decides; nominations of the other role are void."""
        self._nominations.forget()
        for pair in self.checklist.pairs:
            pair.is_claimed = False
        self.checklist.prioritize(self._stance.role)

    def retire(self) -> None:
        """Send no checks any more; answer those of the peer (its last ones may be under way)."""
        self.is_retired = True
        self._exchange = Exchange()

    def receive_request(self, request: Message, source: Endpoint, base: Endpoint) -> DropReason | None:
        """Answer a check from the socket it came to, and act on an authenticated one (RFC 8445 7.3)."""
        check = read_check(request, self.local)
        if isinstance(check, Refusal):
            if check.answer is not None:
                self._answers.append(Transmit(check.answer, base, source))
            return check.reason
        if self.is_retired:
            self._answers.append(Transmit(encode_success(request, self.local, source), base, source))
            return None
        resolution = self._stance.resolve(check.role, check.tie_breaker)
        if resolution is Resolution.REJECT:
            self._answers.append(Transmit(encode_role_conflict(request, self.local), base, source))
            return DropReason.ROLE_CONFLICT
        if resolution is Resolution.SWITCH:
            self._stance.switch()
            self.adapt_to_role()
        self._answers.append(Transmit(encode_success(request, self.local, source), base, source))
        if self.remote is None:
            return None if self._early.keep_check(check, base, source) else DropReason.TOO_MANY
        return self._learn(check, base, source)

    def receive_response(self, response: Message, source: Endpoint, base: Endpoint, now: float) -> DropReason | None:
        """Judge the answer to a check of ours (RFC 8445 7.2.5). Unauthenticated ones change nothing."""
        check = self._exchange.find(response.transaction_id)
        if check is None or self.remote is None:
            return DropReason.UNKNOWN_TRANSACTION
        if not is_authentic_answer(response, self.remote):
            return DropReason.UNAUTHENTICATED
        rtt = self._exchange.complete(check, now)
        seen, error = response.get(XOR_MAPPED_ADDRESS), response.get(ERROR_CODE)
        is_error = response.message_class is MessageClass.ERROR
        if is_error and error is not None and error.code == Code.ROLE_CONFLICT:
            self._lose_conflict(check)  # wherever it comes from: RFC 8445 7.2.5.1 stands before 7.2.5.2.1
        elif (base, source) != check.pair.key:
            self._fail_check(check, PairProblem.NOT_SYMMETRIC)
        elif is_error and error is not None and error.code == Code.FORBIDDEN:
            self.expire(check.pair)  # the peer takes its consent back: RFC 7675 5.2
        elif is_error:
            self._fail_check(check, PairProblem.REJECTED)
        elif response.unknown_required or seen is None:
            self._fail_check(check, PairProblem.MALFORMED_ANSWER)
        else:
            check.pair.confirm(rtt, now)
            self._receive_success(check, seen)
        return None

    def handle_timeout(self, carrier: CandidatePair | None, now: float) -> None:
        """Repeat checks and give up on those that stayed unanswered.

        `carrier` is the pair that carries data, of whichever generation: `Consent` watches over it.
        """
        for check in self._exchange.handle_timeout(now):
            pair = check.pair
            is_given_up = pair.state is PairState.IN_PROGRESS and not self._exchange.is_checking(pair)
            if is_given_up or (pair is self._nominations.pending and check.purpose is Purpose.NOMINATE):
                self.fail(pair, PairProblem.NO_ANSWER)
            elif check.purpose is Purpose.CONSENT and pair is not carrier:
                self._doubt_reserve(pair, check.transaction.started_at)

    def pace(self, now: float) -> None:
        """Begin the next check, one every Ta (RFC 8445 6.1.4.2); a nomination goes before all others."""
        is_due = self._has_work and self._cadence.is_due(now)
        chosen = self._nominations.take() if is_due else None
        pair = self.checklist.next_pair() if is_due and chosen is None else chosen
        if pair is None:
            return
        is_ordinary = chosen is None
        if is_ordinary:
            pair.state = PairState.IN_PROGRESS
        self._send_check(pair, Purpose.CHECK if is_ordinary else Purpose.NOMINATE, now)
        self._cadence.begin(self._pace, is_ordinary and pair.remote.type is CandidateType.PEER_REFLEXIVE, now)

    def next_transmit(self) -> Transmit | None:
        """Give an answer or a check to send."""
        return self._answers.popleft() if self._answers else self._exchange.next_transmit()

    def next_check_at(self) -> float | None:
        """Tell when `pace` has something to do."""
        return self._cadence.next_at if self._has_work else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return self._exchange.next_timeout()

    @property
    def _has_work(self) -> bool:
        is_active = self.remote is not None and not self.is_retired
        return is_active and (self._nominations.is_due or self.checklist.has_work)

    @property
    def _pace(self) -> float:
        return self._config.connected_pace if self.checklist.has_valid_pairs else self._config.pace

    def _pair(self, host: Candidate, remote: Candidate) -> None:
        destination = destination_from(host.base, remote.endpoint)
        if destination is not None and can_pair(host, remote):
            self.checklist.add(CandidatePair(host, remote, destination), self._stance.role)

    def _learn(self, check: InboundCheck, base: Endpoint, source: Endpoint) -> DropReason | None:
        """Find or make the pair of an authenticated check and check it in turn (RFC 8445 7.3.1.3 to 7.3.1.5)."""
        if self.remote is None or check.ufrag != self.remote.ufrag:
            return DropReason.FOREIGN_GENERATION
        pair = self.checklist.find(base, source) or self._learn_pair(check, base, source)
        if pair is None:
            return DropReason.TOO_MANY
        pair.is_heard = True
        if pair.state is not PairState.SUCCEEDED and not pair.is_expired:
            self._exchange.quiet(pair)
            self.checklist.trigger(pair)
        if check.use_candidate and self._stance.role is Role.CONTROLLED:
            self._accept_nomination(pair, check.nomination)
        return None

    def _learn_pair(self, check: InboundCheck, base: Endpoint, source: Endpoint) -> CandidatePair | None:
        host = self._local_candidates.at(base)
        if host is None:
            return None
        self.remote_candidates.forget_one(self.checklist.failed_remotes(), learnt=True)
        known = self.remote_candidates.find(source)
        remote = known or self.remote_candidates.learn(source, check.priority, learnt_type(host))
        if remote is None:
            return None
        pair = CandidatePair(host, remote, source)
        return pair if self.checklist.add(pair, self._stance.role) else None

    def _accept_nomination(self, pair: CandidatePair, nomination: int) -> None:
        """Follow the peer's choice; of several that it counts, one that comes late is no longer its choice."""
        if nomination < self._nominations.last:
            return
        self._nominations.last = pair.nomination = nomination
        if pair.valid is None:
            pair.is_claimed = True
        elif not pair.valid.is_nominated:
            pair.valid = replace(pair.valid, is_nominated=True)
            self._conclude()

    def _receive_success(self, check: Check, seen: Endpoint) -> None:
        """Make or refresh the valid pair (RFC 8445 7.2.5.3.1 to 7.2.5.3.4)."""
        pair = check.pair
        if pair.valid is None and check.purpose is not Purpose.CHECK:
            return  # it failed meanwhile; only a new check can make it valid
        is_nominated = pair.is_nominated or pair.is_claimed
        if check.nominates and pair is self._nominations.pending:
            self._nominations.forget()
            pair.nomination = self._nominations.last
            is_nominated = True
        if check.purpose is Purpose.CHECK:
            self.checklist.succeed(pair)
            self._cadence.hasten()
        was_nominated = pair.is_nominated
        pair.valid = ValidPair(self._local_candidates.seen_as(pair.base, seen), is_nominated)
        if is_nominated and not was_nominated:
            self._conclude()

    def _lose_conflict(self, check: Check) -> None:
        """Take the other role, unless that has happened since we asked, and ask again (RFC 8445 7.2.5.1)."""
        if check.role is self._stance.role:
            self._stance.lose(self._random_bytes)
            self.adapt_to_role()
        if check.purpose is not Purpose.CONSENT:
            self.checklist.trigger(check.pair)

    def _fail_check(self, check: Check, problem: PairProblem) -> None:
        """Let the pair fail, but not for a lost consent check: that question is `Consent`'s."""
        if check.purpose is not Purpose.CONSENT:
            self.fail(check.pair, problem)

    def _doubt_reserve(self, pair: CandidatePair, since: float) -> None:
        """Give up a pair in reserve on which nothing was heard for the whole of a transaction."""
        if pair.valid and (pair.confirmed_at or 0.0) < since:
            self.fail(pair, PairProblem.NO_ANSWER)

    def _abandon(self, pair: CandidatePair) -> None:
        if self._nominations.pending is pair:
            self._nominations.forget()

    def _forget(self, pair: CandidatePair) -> None:
        """Drop what goes on about a pair that is gone."""
        self._abandon(pair)
        self._exchange.forget(pair)

    def _conclude(self) -> None:
        """Stop checking: the race is over (RFC 8445 8.1.2). Late answers still count."""
        self.checklist.supersede()
        for pair in self.checklist.pairs:
            self._exchange.quiet(pair)

    def _send_check(self, pair: CandidatePair, purpose: Purpose, now: float) -> None:
        if self.remote is None:
            raise LocalProtocolError("no check can be built before the remote credentials are known")
        transaction_id = new_transaction_id(self._random_bytes)
        priority = self._local_candidates.check_priority(pair.base)
        nominates = self._stance.role is Role.CONTROLLING and self._nominations.has_chosen(pair)
        nomination = self._nominations.last if nominates else None
        payload = encode_check(transaction_id, self.local, self.remote, self._stance, priority, nomination)
        transaction = Transaction(payload, now, self._rto(pair, purpose), pair.base.transport is not Transport.UDP)
        self._exchange.start(Check(pair, purpose, self._stance.role, nominates, transaction_id, transaction))
        if purpose is not Purpose.CONSENT:
            pair.attempts = 1

    def _rto(self, pair: CandidatePair, purpose: Purpose) -> float:
        """Give the first RTO: RFC 8445 14.3, and twice the round trip once that is known.

        A consent check isn't repeated; its transaction lasts as long as its answer may count.
        """
        if purpose is Purpose.CONSENT:
            return self._config.consent_timeout / TRANSACTION_RTOS
        return max(CHECK_RTO, self._pace * self.checklist.pending, 2 * (pair.rtt or 0.0))
