from __future__ import annotations

import pytest

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import RemoteOptions
from p2ptun.ice.nomination import MAX_NOMINATION, best_pair, pair_to_nominate
from p2ptun.ice.pair import CandidatePair, PairState, ValidPair
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import NOMINATION

from .hand import OTHER_PEER, PEER, Duel, sealed
from .material import pair, reflexive

LOCAL = "192.0.2.1:1"
CONTROLLING = Role.CONTROLLING


def make(number: int, priority: int, state: PairState = PairState.FAILED) -> CandidatePair:
    made = pair(LOCAL, f"198.51.100.{number}:1", priority)
    made.prioritize(CONTROLLING)
    made.state = state
    return made


def valid(number: int, priority: int, is_nominated: bool = False) -> CandidatePair:
    made = make(number, priority)
    made.valid, made.state = ValidPair(made.local, is_nominated), PairState.SUCCEEDED
    return made


def test_nominated_pairs_come_before_better_valid_ones() -> None:
    assert best_pair([make(1, 9)], CONTROLLING) is None
    low, high = valid(1, 1), valid(2, 2)
    assert best_pair([low, high], CONTROLLING) is high
    nominated = valid(3, 1, is_nominated=True)
    assert best_pair([high, nominated], CONTROLLING) is nominated


def test_pitfall_15_of_several_nominated_pairs_the_highest_counts() -> None:
    low, high = valid(1, 1, is_nominated=True), valid(2, 2, is_nominated=True)
    assert best_pair([low, high], CONTROLLING) is high


@pytest.mark.parametrize("state", [PairState.FROZEN, PairState.WAITING, PairState.IN_PROGRESS])
def test_nomination_waits_for_better_pairs_that_can_still_succeed(state: PairState) -> None:
    good, better = valid(1, 1), make(2, 2, state=state)
    assert pair_to_nominate([good, better], CONTROLLING, 4, may_grow=False) is None
    better.state = PairState.FAILED
    assert pair_to_nominate([good, better], CONTROLLING, 4, may_grow=False) is good


def test_nomination_does_not_wait_for_worse_or_hopeless_pairs() -> None:
    good, worse, hopeless = valid(1, 5), make(2, 1, state=PairState.WAITING), make(3, 9, state=PairState.IN_PROGRESS)
    hopeless.attempts = 4
    assert pair_to_nominate([good, worse, hopeless], CONTROLLING, 4, may_grow=False) is good


def test_nothing_is_nominated_by_the_controlled_side_or_twice_or_without_a_valid_pair() -> None:
    assert pair_to_nominate([valid(1, 1)], Role.CONTROLLED, 4, may_grow=False) is None
    assert pair_to_nominate([valid(1, 1, is_nominated=True), valid(2, 2)], CONTROLLING, 4, may_grow=False) is None
    assert pair_to_nominate([make(1, 1)], CONTROLLING, 4, may_grow=False) is None


def test_while_candidates_may_come_only_two_hosts_are_good_enough() -> None:
    hosts, behind_nat = valid(1, 1), valid(1, 1)
    behind_nat.valid = ValidPair(reflexive("203.0.113.1:1", LOCAL))
    to_nat = pair(LOCAL, "198.51.100.1:1", kind=CandidateType.SERVER_REFLEXIVE)
    to_nat.valid = ValidPair(to_nat.local)
    assert pair_to_nominate([hosts], CONTROLLING, 4, may_grow=True) is hosts
    for other in (behind_nat, to_nat):
        assert pair_to_nominate([other], CONTROLLING, 4, may_grow=True) is None
        assert pair_to_nominate([other], CONTROLLING, 4, may_grow=False) is other


def test_whoever_counts_nominations_to_the_end_leaves_us_able_to_nominate() -> None:
    """A number that no attribute carries would end the process, and every other peer's tunnel with it."""
    duel = Duel(Role.CONTROLLED)
    duel.meet(str(PEER), str(OTHER_PEER))
    duel.agent.set_remote_options(RemoteOptions(has_renomination=True), duel.now)
    duel.answer(duel.first_check(PEER))
    last = duel.request(Role.CONTROLLING, (NOMINATION, MAX_NOMINATION), nominates=True)
    duel.hear(sealed(last, duel.ours.password))
    assert duel.agent.selected is not None
    duel.ask(OTHER_PEER, role=Role.CONTROLLED, tie_breaker=0)
    assert duel.agent.role is Role.CONTROLLING
    named = set[int | None]()
    for _ in range(20):  # the nominated pair falls silent, and the other one is to be nominated in its place
        duel.agent.record_sent(duel.now)
        for check in duel.checks(0.5):
            if check[1].destination == OTHER_PEER:
                named.add(check[0].get(NOMINATION))
                duel.answer(check)
    assert MAX_NOMINATION in named, named
