"""Pitfalls of connectivity checks. They are numbered through the tests of all packages."""

from __future__ import annotations

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.event import AgentState, DropReason
from p2ptun.ice.pair import PairProblem, PairState
from p2ptun.ice.priority import candidate_priority
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import ICE_CONTROLLED, ICE_CONTROLLING, PRIORITY, USE_CANDIDATE
from p2ptun.stun.error import Code
from p2ptun.stun.integrity import short_term_key, verify_integrity
from p2ptun.stun.message import MessageClass, encode_message
from tests.sim.network import at

from .hand import BASE, OTHER_PEER, PEER, STRANGER, THEIRS, Duel, code_of, requests, responses, sealed
from .material import host

CONTROLLING, CONTROLLED = Role


@pytest.mark.parametrize(
    ("role", "theirs", "code", "role_after"),
    [
        (CONTROLLING, 4, 487, CONTROLLING),
        (CONTROLLING, 5, 487, CONTROLLING),
        (CONTROLLING, 6, 0, CONTROLLED),
        (CONTROLLED, 4, 0, CONTROLLING),
        (CONTROLLED, 5, 0, CONTROLLING),
        (CONTROLLED, 6, 487, CONTROLLED),
    ],
)
def test_pitfall_01_the_larger_tie_breaker_controls_and_who_yields_still_answers(
    role: Role, theirs: int, code: int, role_after: Role
) -> None:
    """RFC 8445 7.3.1.1. Ours is 5."""
    duel = Duel(role)
    duel.meet(str(PEER))
    [(answer, packet)] = responses(duel.ask(role=role, tie_breaker=theirs))
    assert (code_of(answer), packet.destination) == (code, PEER)
    assert duel.agent.role is role_after


@pytest.mark.parametrize("role", Role)
def test_pitfall_01_a_487_switches_with_a_new_tie_breaker_and_asks_again(role: Role) -> None:
    """RFC 8445 7.2.5.1."""
    duel = Duel(role)
    duel.meet(str(PEER))
    check = duel.first_check()
    [again] = requests(duel.refuse(check, Code.ROLE_CONFLICT)) or duel.checks(0.1)
    assert duel.agent.role is role.opposite
    assert again[0].transaction_id != check[0].transaction_id
    claimed = again[0].get(ICE_CONTROLLED if role is CONTROLLING else ICE_CONTROLLING)
    assert claimed not in (None, 5)
    duel.answer(again)
    assert duel.agent.state is AgentState.CONNECTED


def test_pitfall_01_a_487_for_a_role_that_is_over_is_ignored() -> None:
    duel = Duel(CONTROLLING)
    duel.meet(str(PEER))
    check = duel.first_check()
    duel.ask(role=CONTROLLING, tie_breaker=6)
    assert duel.agent.role is CONTROLLED
    duel.refuse(check, Code.ROLE_CONFLICT)
    assert duel.agent.role is CONTROLLED


@pytest.mark.parametrize("role", [None, CONTROLLING])
def test_pitfall_02_every_answer_is_sealed_with_the_password_of_who_was_asked(role: Role | None) -> None:
    """A 487 no less than a success: whoever asked can verify it."""
    duel = Duel(CONTROLLING)
    duel.meet(str(PEER))
    [(answer, _)] = responses(duel.ask(role=role))
    assert code_of(answer) == (487 if role else 0)
    assert verify_integrity(answer, short_term_key(duel.ours.password))
    assert not verify_integrity(answer, short_term_key(THEIRS.password))


def test_pitfall_02_a_request_without_integrity_gets_400_and_changes_nothing() -> None:
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.take()
    bare = encode_message(duel.request(CONTROLLED, tie_breaker=1, nominates=True))
    [(answer, _)] = duel.hear(bare, STRANGER)
    assert code_of(answer) == 400
    assert duel.agent.role is CONTROLLED
    assert [pair.destination for pair in duel.agent.pairs] == [PEER]


def test_pitfall_02_a_request_with_the_wrong_password_gets_401_and_changes_nothing() -> None:
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.take()
    [(answer, _)] = duel.hear(sealed(duel.request(CONTROLLED, nominates=True), THEIRS.password), STRANGER)
    assert code_of(answer) == 401
    assert duel.agent.role is CONTROLLED
    assert [pair.destination for pair in duel.agent.pairs] == [PEER]


def test_pitfall_06_an_answer_from_another_address_fails_that_pair_only() -> None:
    """RFC 8445 7.2.5.2.1."""
    duel = Duel()
    duel.meet(str(PEER), str(OTHER_PEER))
    checks = {packet.destination: (request, packet) for request, packet in duel.checks(0.1)}
    duel.answer(checks[PEER], source=OTHER_PEER)
    assert (duel.pair(PEER).state, duel.pair(PEER).problem) == (PairState.FAILED, PairProblem.NOT_SYMMETRIC)
    assert duel.agent.selected is None
    duel.answer(checks[OTHER_PEER])
    assert duel.pair(OTHER_PEER).state is PairState.SUCCEEDED


def test_pitfall_06_an_answer_to_another_socket_fails_that_pair_only() -> None:
    other_base = at("10.0.0.2:1")
    duel = Duel(CONTROLLING, str(BASE), str(other_base))
    duel.meet(str(PEER))
    checks = {packet.source: (request, packet) for request, packet in duel.checks(0.1)}
    duel.answer(checks[BASE], base=other_base)
    assert duel.pair(PEER, BASE).problem is PairProblem.NOT_SYMMETRIC
    duel.answer(checks[other_base])
    assert duel.pair(PEER, other_base).state is PairState.SUCCEEDED
    assert duel.agent.selected is not None
    assert duel.agent.selected.base == other_base


def test_pitfall_07_a_check_carries_the_priority_of_a_peer_reflexive_candidate_of_its_base() -> None:
    """RFC 8445 7.1.1: the local preference is the base's, the type preference is not."""
    duel = Duel(CONTROLLING, str(BASE), "10.0.0.2:1")
    duel.meet(str(PEER))
    own = {candidate.base: candidate.priority for candidate in duel.agent.local_candidates}
    said = {packet.source: request.get(PRIORITY) for request, packet in duel.checks(0.1)}
    assert len(set(said.values())) == len(own) == 2
    for base, priority in said.items():
        preference = own[base] >> 8 & 0xFFFF
        assert (
            priority
            == candidate_priority(CandidateType.PEER_REFLEXIVE, preference)
            == 110 << 24 | preference << 8 | 255
        )


def test_pitfall_08_what_the_peer_saw_makes_the_valid_pair_and_the_nomination_sits_on_it() -> None:
    """RFC 8445 7.2.5.3.1 and 7.2.5.3.2: behind a NAT the pair that works isn't the pair that was checked."""
    duel = Duel()
    duel.meet(str(PEER))
    duel.answer(duel.first_check(), seen=STRANGER)
    assert duel.selections[0].local.type is CandidateType.PEER_REFLEXIVE
    assert (duel.selections[0].local.endpoint, duel.selections[0].base) == (STRANGER, BASE)
    nomination = next(item for item in duel.checks(1.0) if item[0].get(USE_CANDIDATE))
    assert nomination[1].source == BASE  # sent as before: on the checked pair
    duel.answer(nomination, seen=STRANGER)
    duel.take()
    assert duel.selections[-1].is_nominated
    assert duel.selections[-1].local == duel.selections[0].local
    assert len(duel.agent.pairs) == 1


def test_pitfall_14_a_triggered_check_replaces_the_one_under_way_whose_late_answer_counts() -> None:
    """RFC 8445 7.3.1.4: In-Progress is cancelled and queued again."""
    duel = Duel()
    duel.meet(str(PEER))
    first = duel.first_check(seconds=0.1)
    duel.ask()
    repeated = duel.checks(0.9)
    assert {request.transaction_id for request, _ in repeated}.isdisjoint({first[0].transaction_id})
    assert repeated
    duel.answer(first)
    assert duel.pair().state is PairState.SUCCEEDED


def test_pitfall_14_a_check_on_a_failed_pair_revives_it_and_on_a_valid_one_does_nothing() -> None:
    duel = Duel()
    duel.meet(str(PEER))
    duel.refuse(duel.first_check(), Code.BAD_REQUEST)
    assert duel.pair().state is PairState.FAILED
    duel.ask()
    assert duel.pair().state in (PairState.WAITING, PairState.IN_PROGRESS)
    check = duel.first_check()
    duel.answer(check)
    nomination = next(item for item in duel.checks(1.0) if item[0].get(USE_CANDIDATE))
    duel.answer(nomination)
    assert not requests(duel.ask())
    assert not duel.checks(0.5)
    assert duel.pair().state is PairState.SUCCEEDED


def test_pitfall_15_a_nomination_before_our_own_success_is_remembered() -> None:
    """RFC 8445 7.3.1.5."""
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.ask(nominates=True)
    assert duel.agent.selected is None
    duel.answer(duel.first_check())
    assert duel.selections[-1].is_nominated


def test_pitfall_15_a_controlled_peer_nominates_nothing() -> None:
    duel = Duel(CONTROLLING)
    duel.meet(str(PEER), str(OTHER_PEER))
    checks = {packet.destination: (request, packet) for request, packet in duel.checks(0.1)}
    duel.ask(OTHER_PEER, role=CONTROLLED, nominates=True)
    late = {packet.destination: (request, packet) for request, packet in duel.checks(0.1)}
    duel.answer(late.get(OTHER_PEER, checks[OTHER_PEER]))
    assert not any(selection.is_nominated for selection in duel.selections)


@pytest.mark.parametrize("better_first", [True, False])
def test_pitfall_15_of_several_nominations_the_highest_priority_counts(better_first: bool) -> None:
    """An aggressive peer puts USE-CANDIDATE into every check (RFC 5245 8.1.1.2)."""
    duel = Duel(CONTROLLED)
    better, worse = host(str(PEER), priority=2_000_000), host(str(OTHER_PEER), priority=1_000_000)
    duel.meet(better, worse)
    order = [PEER, OTHER_PEER] if better_first else [OTHER_PEER, PEER]
    for source in order:
        duel.ask(source, nominates=True)
    checks = {packet.destination: (request, packet) for request, packet in duel.checks(0.2)}
    for source in order:
        if not duel.pair(source).is_nominated:
            duel.answer(checks[source])
    duel.wait(0.5)
    assert duel.agent.selected is not None
    assert (duel.agent.selected.destination, duel.agent.selected.is_nominated) == (PEER, True)


def test_pitfall_16_a_check_before_the_remote_credentials_is_answered_at_once_and_used_later() -> None:
    duel = Duel(CONTROLLED)
    [(answer, packet)] = duel.ask(STRANGER, nominates=True)
    assert (answer.message_class, packet.source, packet.destination) == (MessageClass.SUCCESS, BASE, STRANGER)
    assert duel.agent.pairs == ()
    assert not duel.checks(1.0)
    duel.meet()
    duel.answer(duel.first_check(STRANGER))
    assert duel.selections[-1].is_nominated
    assert duel.selections[-1].remote.type is CandidateType.PEER_REFLEXIVE


def test_pitfall_16_what_is_remembered_of_strangers_is_bounded() -> None:
    duel = Duel(CONTROLLED)
    for number in range(1000):
        assert len(responses(duel.ask(at(f"198.51.{number // 250}.{number % 250 + 1}:7")))) == 1
    assert duel.agent.drops == {DropReason.TOO_MANY: 1000 - 32}
    duel.meet()
    assert len(duel.agent.pairs) == 32
