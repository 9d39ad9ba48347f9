from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from p2ptun.errors import LocalProtocolError
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.check import encode_check
from p2ptun.ice.config import CONNECTED_PACE, DEFAULT_PACE, AgentConfig, RemoteOptions
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import DropReason
from p2ptun.ice.generation import Generation
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.pacer import Pacer
from p2ptun.ice.pair import CandidatePair, PairProblem, PairState, ValidPair
from p2ptun.ice.role import Role, Stance
from p2ptun.ice.scope import DEFAULT_REFUSED_NETWORKS
from p2ptun.stun.attribute import (
    ERROR_CODE,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import HMAC_SHA1, Integrity, short_term_key
from p2ptun.stun.message import (
    Message,
    MessageClass,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.types import Endpoint, Transmit, Transport
from tests.sim.network import START, at

from .material import host, random_bytes_from, reflexive, with_unknown

OURS = Credentials("ours", "o" * 22)
THEIRS = Credentials("theirs", "t" * 22)
BASE, PEER, OTHER_PEER, STRANGER = (at(text) for text in ("10.0.0.1:1", "192.0.2.1:2", "192.0.2.2:2", "198.51.100.7:7"))


class Bench:
    """One generation with the peer played by the test."""

    def __init__(self, role: Role = Role.CONTROLLING, config: AgentConfig | None = None, tie_breaker: int = 5) -> None:
        self.stance = Stance(role, tie_breaker)
        self.local = LocalCandidates(OURS, 32)
        draw = random_bytes_from(1)
        self.generation = Generation(config or AgentConfig(), OURS, self.stance, self.local, draw, Pacer())
        self._count = 0
        for base in ("10.0.0.1:1",):
            self.add_base(at(base))

    def add_base(self, base: Endpoint) -> None:
        added = self.local.add_host(base)
        assert added is not None
        self.generation.add_local_candidate(added)

    def begin(self, *remotes: str) -> None:
        self.generation.set_remote_credentials(THEIRS)
        for remote in remotes:
            assert self.generation.add_remote_candidate(host(remote)) is None

    def sent(self) -> list[tuple[Message, Transmit]]:
        """Drain what goes out, decoded."""
        found = []
        while (packet := self.generation.next_transmit()) is not None:
            found.append((decode_message(packet.payload), packet))
        return found

    def checks(self, now: float = START) -> list[tuple[Message, Transmit]]:
        """Let one check begin and give the requests that go out."""
        self.generation.pace(now)
        return [item for item in self.sent() if item[0].message_class is MessageClass.REQUEST]

    def request(
        self,
        source: Endpoint = PEER,
        role: Role | None = None,
        tie_breaker: int = 1,
        nomination: int | None = None,
        sender: Credentials = THEIRS,
    ) -> DropReason | None:
        """Let the peer check us."""
        self._count += 1
        stance = Stance(role or self.stance.role.opposite, tie_breaker)
        transaction_id = TransactionId(self._count.to_bytes(12, "big"))
        message = decode_message(encode_check(transaction_id, sender, OURS, stance, 99, nomination))
        return self.generation.receive_request(message, source, BASE)

    def answer(
        self,
        request: Message,
        packet: Transmit,
        *attributes: AttributeValue,
        source: Endpoint | None = None,
        base: Endpoint | None = None,
        signer: Credentials = THEIRS,
        now: float = START + 0.1,
    ) -> DropReason | None:
        """Let the peer answer a check; without attributes, that it saw our base."""
        reply = success_response(request, *(attributes or ((XOR_MAPPED_ADDRESS, packet.source),)))
        return self.reply(reply, packet, source, base, signer, now)

    def reject(
        self, request: Message, packet: Transmit, code: Code = Code.ROLE_CONFLICT, now: float = START + 0.1
    ) -> DropReason | None:
        return self.reply(error_response(request, code), packet, None, None, THEIRS, now)

    def reply(
        self,
        reply: Message,
        packet: Transmit,
        source: Endpoint | None,
        base: Endpoint | None,
        signer: Credentials,
        now: float,
    ) -> DropReason | None:
        data = encode_message(reply, Integrity(HMAC_SHA1, short_term_key(signer.password)))
        return self.generation.receive_response(
            decode_message(data), source or packet.destination, base or packet.source, now
        )

    def pair(self, destination: Endpoint = PEER) -> CandidatePair:
        found = self.generation.checklist.find(BASE, destination)
        assert found is not None
        return found

    def state(self, destination: Endpoint = PEER) -> PairState:
        return self.pair(destination).state


def test_nothing_is_checked_before_the_credentials() -> None:
    bench = Bench()
    bench.generation.add_remote_candidate(host("192.0.2.1:2"))
    assert bench.generation.next_check_at() is None
    assert bench.checks() == []
    bench.generation.set_remote_credentials(THEIRS)
    assert len(bench.checks()) == 1


def test_check_that_cannot_be_built_is_a_bug_of_the_caller() -> None:
    bench = Bench()
    pair = CandidatePair(bench.local.bases[0], host("192.0.2.1:2"), PEER)
    with pytest.raises(LocalProtocolError):
        bench.generation.check_consent(pair, START)


def test_pitfall_17_candidates_of_another_generation_are_dropped_whenever_they_come() -> None:
    bench = Bench()
    foreign, ours = replace(host("192.0.2.1:2"), ufrag="alien"), replace(host("192.0.2.2:2"), ufrag="theirs")
    assert bench.generation.add_remote_candidate(foreign) is None
    assert bench.generation.add_remote_candidate(ours) is None
    assert bench.generation.set_remote_credentials(THEIRS) == [DropReason.FOREIGN_GENERATION]
    assert bench.generation.add_remote_candidate(foreign) is DropReason.FOREIGN_GENERATION
    assert [candidate.endpoint for candidate in bench.generation.remote_candidates] == [OTHER_PEER]


def test_refused_and_superfluous_candidates_are_dropped() -> None:
    config = AgentConfig(max_candidates=2, refused_networks=(*DEFAULT_REFUSED_NETWORKS, ip_network("10.77.0.0/16")))
    bench = Bench(config=config)
    assert bench.generation.add_remote_candidate(host("192.0.2.1:2")) is None
    assert bench.generation.add_remote_candidate(host("10.77.0.5:2")) is None
    assert bench.generation.add_remote_candidate(host("192.0.2.2:2")) is DropReason.TOO_MANY
    assert bench.generation.set_remote_credentials(THEIRS) == [DropReason.REFUSED_SOURCE]
    assert bench.generation.add_remote_candidate(host("192.0.2.2:2")) is None
    assert bench.generation.add_remote_candidate(host("192.0.2.2:2")) is None  # known: no harm
    assert bench.generation.add_remote_candidate(host("192.0.2.3:2")) is DropReason.TOO_MANY


def test_candidates_of_another_transport_or_scope_make_no_pair() -> None:
    bench = Bench()
    bench.begin()
    tcp = replace(host("192.0.2.1:2"), endpoint=Endpoint.of("192.0.2.1", 2, Transport.TCP))
    bench.generation.add_remote_candidate(tcp)
    bench.generation.add_remote_candidate(host("[2001:db8::1]:2"))
    assert bench.generation.checklist.pairs == []
    assert len(list(bench.generation.remote_candidates)) == 2


def test_late_local_address_is_paired_with_all_remotes() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2", "192.0.2.2:2")
    bench.add_base(at("10.0.0.9:1"))
    assert len(bench.generation.checklist.pairs) == 4


def test_checks_are_paced_20_ms_apart_and_50_after_the_first_success() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2", "192.0.2.2:2", "192.0.2.3:2")
    [(request, packet)] = bench.checks()
    assert bench.generation.next_check_at() == START + DEFAULT_PACE
    assert bench.checks(START + 0.019) == []
    bench.answer(request, packet)
    assert len(bench.checks(START + DEFAULT_PACE)) == 1
    assert bench.generation.next_check_at() == START + DEFAULT_PACE + CONNECTED_PACE


def test_pitfall_7_check_carries_the_priority_of_a_peer_reflexive_candidate() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, _)] = bench.checks()
    priority = request.get(PRIORITY)
    assert priority == bench.local.check_priority(BASE)
    assert priority is not None
    assert priority >> 24 == 110
    assert priority & 0xFFFFFF == bench.pair().local.priority & 0xFFFFFF


def test_success_makes_a_valid_pair_with_its_round_trip() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    assert bench.state() is PairState.IN_PROGRESS
    assert bench.answer(request, packet) is None
    assert bench.state() is PairState.SUCCEEDED
    assert bench.pair().valid == ValidPair(bench.pair().local)
    assert bench.pair().rtt == pytest.approx(0.1)


def test_pitfall_8_mapped_address_decides_the_local_candidate_of_the_valid_pair() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet, (XOR_MAPPED_ADDRESS, STRANGER))
    valid = bench.pair().valid
    assert valid is not None
    assert (valid.local.type, valid.local.endpoint, valid.local.base) == (CandidateType.PEER_REFLEXIVE, STRANGER, BASE)
    assert bench.pair().local.type is CandidateType.HOST
    bench.generation.nominate(bench.pair(), RemoteOptions())
    [(request, packet)] = bench.checks(START + 1)
    assert request.get(USE_CANDIDATE)
    bench.answer(request, packet, (XOR_MAPPED_ADDRESS, STRANGER))
    assert bench.pair().valid == replace(valid, is_nominated=True)


@pytest.mark.parametrize(("source", "base"), [(STRANGER, None), (None, at("10.0.0.9:1"))])
def test_pitfall_6_asymmetric_answer_fails_that_pair(source: Endpoint | None, base: Endpoint | None) -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2", "192.0.2.2:2")
    [(request, packet)] = bench.checks()
    checked, other = packet.destination, ({PEER, OTHER_PEER} - {packet.destination}).pop()
    bench.answer(request, packet, source=source, base=base)
    assert bench.state(checked) is PairState.FAILED
    assert bench.pair(checked).problem is PairProblem.NOT_SYMMETRIC
    assert bench.state(other) is PairState.WAITING


def test_pitfall_2_unauthentic_answers_change_nothing() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    assert bench.answer(request, packet, signer=OURS) is DropReason.UNAUTHENTICATED
    assert bench.state() is PairState.IN_PROGRESS
    unknown = replace(request, transaction_id=TransactionId(bytes(12)))
    assert bench.answer(unknown, packet) is DropReason.UNKNOWN_TRANSACTION
    assert bench.answer(request, packet) is None
    assert bench.answer(request, packet) is DropReason.UNKNOWN_TRANSACTION  # a second copy


def test_answer_before_the_credentials_is_unknown() -> None:
    bench, other = Bench(), Bench()
    other.begin("192.0.2.1:2")
    [(request, packet)] = other.checks()
    assert bench.answer(request, packet) is DropReason.UNKNOWN_TRANSACTION


@pytest.mark.parametrize(
    ("code", "problem"), [(Code.SERVER_ERROR, PairProblem.REJECTED), (Code.BAD_REQUEST, PairProblem.REJECTED)]
)
def test_error_fails_the_pair(code: Code, problem: PairProblem) -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.reject(request, packet, code)
    assert (bench.state(), bench.pair().problem) == (PairState.FAILED, problem)


def test_answers_that_say_too_little_fail_the_pair() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2", "192.0.2.2:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet, (PRIORITY, 1))
    assert bench.pair(packet.destination).problem is PairProblem.MALFORMED_ANSWER
    [(request, packet)] = bench.checks(START + 1)
    bench.reply(Message(request.method, MessageClass.ERROR, request.transaction_id), packet, None, None, THEIRS, START)
    assert bench.pair(packet.destination).problem is PairProblem.REJECTED


def test_pitfall_4_answer_with_an_unknown_required_attribute_fails_the_pair() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    reply = with_unknown(success_response(request, (XOR_MAPPED_ADDRESS, BASE)), short_term_key(THEIRS.password))
    assert bench.generation.receive_response(reply, packet.destination, packet.source, START) is None
    assert (bench.state(), bench.pair().problem) == (PairState.FAILED, PairProblem.MALFORMED_ANSWER)


def test_unanswered_check_fails_after_its_transaction() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    bench.checks()
    while (timeout := bench.generation.next_timeout()) is not None:
        assert timeout <= START + 39.5
        bench.generation.handle_timeout(None, timeout)
        bench.sent()
    assert (bench.state(), bench.pair().problem) == (PairState.FAILED, PairProblem.NO_ANSWER)


def test_pitfall_1_losing_a_conflict_switches_and_checks_again() -> None:
    bench = Bench(Role.CONTROLLING, tie_breaker=5)
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    before = bench.pair().priority
    bench.reject(request, packet)
    assert bench.stance.role is Role.CONTROLLED
    assert bench.stance.tie_breaker != 5
    assert bench.state() is PairState.WAITING
    assert abs(bench.pair().priority - before) == 1
    [(again, _)] = bench.checks(START + 1)
    assert again.get(ICE_CONTROLLED) == bench.stance.tie_breaker
    assert again.transaction_id != request.transaction_id


def test_pitfall_1_a_487_counts_wherever_it_comes_from() -> None:
    """Behind a NAT that maps by address the answer comes from elsewhere, and both sides would go on controlling."""
    bench = Bench(Role.CONTROLLING, tie_breaker=5)
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.reply(error_response(request, Code.ROLE_CONFLICT), packet, OTHER_PEER, None, THEIRS, START + 0.1)
    assert bench.stance.role is Role.CONTROLLED
    assert bench.state() is PairState.WAITING


def test_pitfall_1_a_487_after_the_role_changed_is_ignored_but_the_check_is_made_again() -> None:
    bench = Bench(Role.CONTROLLING, tie_breaker=5)
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    assert bench.request(OTHER_PEER, role=Role.CONTROLLING, tie_breaker=9) is None
    assert bench.stance.role is Role.CONTROLLED
    bench.reject(request, packet)
    assert bench.stance == Stance(Role.CONTROLLED, 5)
    assert bench.state() is PairState.WAITING


def test_pitfall_1_conflicting_request_is_answered_after_switching_and_refused_otherwise() -> None:
    for tie_breaker, role in ((9, Role.CONTROLLED), (1, Role.CONTROLLING)):
        bench = Bench(Role.CONTROLLING, tie_breaker=5)
        bench.begin()
        reason = bench.request(role=Role.CONTROLLING, tie_breaker=tie_breaker)
        [(answer, packet)] = bench.sent()
        assert bench.stance.role is role
        assert (packet.source, packet.destination) == (BASE, PEER)
        error = answer.get(ERROR_CODE)
        if role is Role.CONTROLLED:
            assert (reason, error) == (None, None)
            assert bench.state() is PairState.WAITING
        else:
            assert error is not None
            assert (reason, error.code) == (DropReason.ROLE_CONFLICT, 487)
            assert bench.generation.checklist.pairs == []


def test_role_conflict_on_a_consent_check_switches_without_a_new_check() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    bench.generation.check_consent(bench.pair(), START + 1)
    [(request, packet)] = bench.sent()
    assert request.get(ICE_CONTROLLING) is not None
    bench.reject(request, packet)
    assert bench.stance.role is Role.CONTROLLED
    assert bench.state() is PairState.SUCCEEDED
    assert bench.checks(START + 2) == []


def test_check_from_a_stranger_makes_a_peer_reflexive_candidate_and_a_triggered_check() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    assert bench.request(STRANGER) is None
    [(answer, _)] = bench.sent()
    assert answer.get(XOR_MAPPED_ADDRESS) == STRANGER
    assert bench.pair(STRANGER).remote.type is CandidateType.PEER_REFLEXIVE
    assert bench.pair(STRANGER).remote.priority == 99
    assert [packet.destination for _, packet in bench.checks()] == [STRANGER]


def test_number_of_strangers_is_bounded() -> None:
    bench = Bench(config=AgentConfig(max_candidates=1, max_pairs=1))
    bench.begin()
    assert bench.request(STRANGER) is None
    assert bench.request(PEER) is DropReason.TOO_MANY
    full = Bench(config=AgentConfig(max_pairs=1))
    full.begin()
    assert full.request(STRANGER) is None
    assert full.request(PEER) is DropReason.TOO_MANY


def test_check_to_a_socket_that_is_gone_teaches_nothing() -> None:
    bench = Bench()
    assert bench.request(STRANGER) is None
    bench.local.remove(BASE)
    assert bench.generation.set_remote_credentials(THEIRS) == [DropReason.TOO_MANY]


def test_check_of_another_generation_is_answered_but_teaches_nothing() -> None:
    bench = Bench()
    bench.begin()
    assert bench.request(STRANGER, sender=Credentials("older", "x" * 22)) is DropReason.FOREIGN_GENERATION
    assert len(bench.sent()) == 1
    assert bench.generation.checklist.pairs == []


def test_pitfall_16_early_checks_are_answered_at_once_and_paired_later() -> None:
    bench = Bench(Role.CONTROLLED, AgentConfig(max_candidates=2))
    assert bench.request(PEER, nomination=0) is None
    assert bench.request(PEER) is None
    assert bench.request(STRANGER) is None
    assert bench.request(OTHER_PEER) is DropReason.TOO_MANY
    assert len(bench.sent()) == 4
    assert bench.generation.set_remote_credentials(THEIRS) == []
    assert bench.pair(PEER).is_claimed
    assert not bench.pair(STRANGER).is_claimed
    assert [packet.destination for _, packet in bench.checks()] == [PEER]


def test_pitfall_14_triggered_checks_by_state() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(first, packet)] = bench.checks()
    bench.request()
    assert bench.state() is PairState.WAITING  # was in progress: cancelled, queued again
    [(second, _)] = bench.checks(START + 1)
    assert second.transaction_id != first.transaction_id
    bench.generation.handle_timeout(None, START + 1.4)  # the first is due for repetition, were it not cancelled
    assert bench.sent() == []
    bench.answer(first, packet)  # late, still counts
    assert bench.state() is PairState.SUCCEEDED
    bench.request()
    assert bench.checks(START + 2) == []  # succeeded: nothing
    bench.generation.fail(bench.pair(), PairProblem.NO_ANSWER)
    bench.request()
    assert bench.state() is PairState.WAITING  # failed: again
    assert len(bench.checks(START + 3)) == 1


def test_expiry_of_a_cancelled_check_does_not_fail_the_new_one() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    bench.checks()
    bench.request()
    bench.checks(START + 30)
    bench.generation.handle_timeout(None, START + 40)
    assert bench.state() is PairState.IN_PROGRESS
    bench.generation.handle_timeout(None, START + 70)
    assert bench.state() is PairState.FAILED


def test_pitfall_15_nomination_before_our_own_success_is_remembered() -> None:
    bench = Bench(Role.CONTROLLED)
    bench.begin("192.0.2.1:2", "192.0.2.2:2")
    bench.request(nomination=0)
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    assert bench.pair().is_nominated
    bench.request(nomination=0)  # once more: nothing changes
    assert bench.pair().is_nominated
    assert bench.generation.next_check_at() is None  # the race is over


def test_nomination_after_our_success_concludes_at_once() -> None:
    bench = Bench(Role.CONTROLLED)
    bench.begin("192.0.2.1:2", "192.0.2.2:2")
    [(request, packet)] = bench.checks()
    bench.checks(START + 0.05)
    bench.answer(request, packet)
    bench.request(packet.destination, nomination=0)
    assert bench.pair(packet.destination).is_nominated
    bench.generation.handle_timeout(None, START + 2)
    assert [message.message_class for message, _ in bench.sent()] == [MessageClass.SUCCESS]  # no check is repeated


def test_pitfall_15_use_candidate_from_a_controlled_peer_is_ignored() -> None:
    bench = Bench(Role.CONTROLLING)
    bench.begin("192.0.2.1:2")
    bench.request(nomination=0)
    assert not bench.pair().is_claimed


def test_role_switch_voids_claims_and_nominations() -> None:
    bench = Bench(Role.CONTROLLED, tie_breaker=5)
    bench.begin("192.0.2.1:2")
    bench.request(nomination=0)
    assert bench.pair().is_claimed
    bench.request(OTHER_PEER, role=Role.CONTROLLED, tie_breaker=1)
    assert bench.stance.role is Role.CONTROLLING
    assert not bench.pair().is_claimed


def nominating(bench: Bench) -> tuple[Message, Transmit]:
    """Bring a bench to where its nomination waits for an answer."""
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    bench.generation.nominate(bench.pair(), RemoteOptions())
    assert bench.generation.is_nominating
    assert bench.checks() == [], "it keeps the pace: RFC 8445 14.2"
    [(request, packet)] = bench.checks(START + 1)
    return request, packet


def test_unanswered_nomination_fails_the_pair() -> None:
    bench = Bench()
    nominating(bench)
    bench.generation.handle_timeout(None, START + 100)
    assert not bench.generation.is_nominating
    assert (bench.state(), bench.pair().valid) == (PairState.FAILED, None)


def test_nomination_whose_answers_are_lost_is_carried_by_consent_checks() -> None:
    bench = Bench()
    nominating(bench)
    bench.generation.check_consent(bench.pair(), START + 5)
    [(request, packet)] = bench.sent()
    assert request.get(USE_CANDIDATE)
    bench.answer(request, packet)
    assert bench.pair().is_nominated
    assert not bench.generation.is_nominating
    bench.generation.handle_timeout(None, START + 100)
    assert bench.state() is PairState.SUCCEEDED


def test_nomination_refused_by_a_role_conflict_is_given_up() -> None:
    bench = Bench()
    request, packet = nominating(bench)
    bench.reject(request, packet)
    assert not bench.generation.is_nominating
    assert bench.stance.role is Role.CONTROLLED
    assert bench.state() is PairState.WAITING


def test_answer_to_a_nomination_of_another_role_does_not_nominate() -> None:
    bench = Bench()
    request, packet = nominating(bench)
    bench.request(OTHER_PEER, role=Role.CONTROLLING, tie_breaker=9)
    bench.answer(request, packet)
    assert not bench.pair().is_nominated


def test_answers_to_a_pair_that_failed_meanwhile_do_not_make_it_valid() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    bench.generation.check_consent(bench.pair(), START + 1)
    [(request, packet)] = bench.sent()
    bench.generation.fail(bench.pair(), PairProblem.UNREACHABLE)
    bench.answer(request, packet)
    assert bench.pair().valid is None


def test_pitfall_18_lost_and_late_consent_checks_do_not_fail_the_pair() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    ids = set()
    for number in range(3):
        bench.generation.check_consent(bench.pair(), START + number)
        [(request, packet)] = bench.sent()
        ids.add(request.transaction_id)
    assert len(ids) == 3
    bench.generation.handle_timeout(bench.pair(), START + 31.5)
    assert bench.sent() == []
    assert bench.answer(request, packet, now=START + 31.6) is None  # the last is still listened for
    assert bench.pair().confirmed_at == START + 31.6
    bench.generation.handle_timeout(bench.pair(), START + 60)
    assert bench.state() is PairState.SUCCEEDED


def test_answer_to_a_consent_check_from_elsewhere_is_no_consent_and_no_failure() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    bench.generation.check_consent(bench.pair(), START + 1)
    [(request, packet)] = bench.sent()
    bench.answer(request, packet, source=STRANGER, now=START + 2)
    assert bench.pair().confirmed_at == START + 0.1
    assert bench.state() is PairState.SUCCEEDED


def test_consent_checks_of_a_nominated_pair_keep_saying_so() -> None:
    bench = Bench()
    request, packet = nominating(bench)
    bench.answer(request, packet)
    bench.generation.check_consent(bench.pair(), START + 5)
    assert bench.sent()[0][0].get(USE_CANDIDATE)
    bench.request(role=Role.CONTROLLING, tie_breaker=99)
    bench.sent()
    bench.generation.check_consent(bench.pair(), START + 10)
    assert bench.sent()[0][0].get(USE_CANDIDATE) is None


def test_pitfall_10_signalled_candidate_upgrades_a_learnt_one_in_place() -> None:
    bench = Bench()
    bench.begin()
    bench.request(STRANGER)
    bench.sent()
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    told = reflexive("198.51.100.7:7", "192.168.0.1:1")
    assert bench.generation.add_remote_candidate(told) is None
    pair = bench.pair(STRANGER)
    assert (pair.remote.type, pair.remote.priority) == (CandidateType.SERVER_REFLEXIVE, told.priority)
    assert pair.state is PairState.SUCCEEDED
    assert len(bench.generation.checklist.pairs) == 1


def test_first_rto_grows_with_the_check_list_and_the_round_trip() -> None:
    bench = Bench(config=AgentConfig(pace=0.1))
    bench.begin(*(f"192.0.2.{number}:2" for number in range(1, 21)))
    bench.checks()
    assert bench.generation.next_timeout() == pytest.approx(START + 2.0)  # RFC 8445 14.3: Ta x N
    slow = Bench()
    slow.begin("192.0.2.1:2")
    [(request, packet)] = slow.checks()
    slow.answer(request, packet, now=START + 0.4)
    slow.pair().quality.rtt = 3.0
    slow.generation.nominate(slow.pair(), RemoteOptions())
    slow.checks(START + 1)
    assert slow.generation.next_timeout() == pytest.approx(START + 7)


def test_removed_socket_takes_its_pairs_and_checks_along() -> None:
    bench = Bench()
    request, packet = nominating(bench)
    bench.generation.remove_base(BASE)
    assert not bench.generation.is_nominating
    assert bench.generation.checklist.pairs == []
    assert bench.generation.next_timeout() is None
    assert bench.answer(request, packet) is DropReason.UNKNOWN_TRANSACTION


def test_after_the_nomination_what_is_untried_is_given_up_and_what_is_new_is_checked() -> None:
    bench = Bench()
    request, packet = nominating(bench)
    bench.answer(request, packet)
    assert bench.checks(START + 5) == []
    bench.request(STRANGER)
    assert [packet.destination for _, packet in bench.checks(START + 5)] == [STRANGER]


def test_hastening_checks_everything_anew_but_what_works_or_may_not_be_checked() -> None:
    bench = Bench()
    bench.begin("192.0.2.1:2", "192.0.2.2:2", "192.0.2.3:2")
    [(request, packet)] = bench.checks()
    bench.answer(request, packet)
    expired = bench.generation.checklist.pairs[1]
    bench.generation.expire(expired)
    bench.generation.hasten()
    hastened = [packet.destination for number in range(3) for _, packet in bench.checks(START + 1 + number)]
    assert hastened == [pair.destination for pair in bench.generation.checklist.pairs[2:]]
    bench.request(expired.destination)
    assert bench.checks(START + 9) == [], "not even when the peer checks it"


def test_of_several_counted_nominations_a_late_one_is_no_longer_the_peers_choice() -> None:
    bench = Bench(Role.CONTROLLED)
    bench.begin("192.0.2.1:2", "192.0.2.2:2")
    for number in range(2):
        [(request, packet)] = bench.checks(START + number)
        bench.answer(request, packet, now=START + number)
    first, second = bench.generation.checklist.pairs
    bench.request(first.destination, nomination=2)
    bench.request(second.destination, nomination=1)
    assert (first.is_nominated, second.is_nominated) == (True, False)
    bench.request(second.destination, nomination=3)
    assert (second.is_nominated, second.nomination) == (True, 3)


def test_pair_that_was_still_asked_when_another_was_nominated_may_be_tried_again_at_once() -> None:
    """It needn't wait until its check would have been given up; an answer that comes late counts all the same."""
    bench = Bench(Role.CONTROLLED)
    bench.begin("192.0.2.1:2", "192.0.2.2:2")
    asked = [bench.checks(START + number)[0] for number in range(2)]
    bench.answer(*asked[0])
    nominated, other = (bench.generation.checklist.find(BASE, packet.destination) for _, packet in asked)
    assert nominated is not None
    assert other is not None
    bench.request(nominated.destination, nomination=0)
    assert bench.generation.checklist.retriable() == [other]
    assert other.problem is PairProblem.SUPERSEDED
    bench.answer(*asked[1])
    assert bench.generation.checklist.valid_pairs == [nominated, other]
