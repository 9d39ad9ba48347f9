from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.ice.checklist import MAX_IN_A_ROW, Checklist
from p2ptun.ice.pair import CandidatePair, PairProblem, PairState, ValidPair
from p2ptun.ice.role import Role
from p2ptun.types import Endpoint, Transport
from tests.sim.network import at

from .material import host, pair

ROLE = Role.CONTROLLING
LOCAL = "192.0.2.1:1"


def fill(*pairs: CandidatePair, limit: int = 100) -> Checklist:
    checklist = Checklist(limit)
    for item in pairs:
        assert checklist.add(item, ROLE)
    return checklist


def test_best_waiting_pair_comes_first() -> None:
    low, high = pair(LOCAL, "198.51.100.1:1", 1), pair(LOCAL, "198.51.100.2:1", 2)
    checklist = fill(low, high)
    assert checklist.pairs == [high, low]
    assert checklist.next_pair() is high
    assert checklist.find(low.base, low.destination) is low


def test_pitfall_11_identical_pairs_collapse() -> None:
    checklist = fill(pair(LOCAL, "198.51.100.1:1"))
    assert not checklist.add(pair(LOCAL, "198.51.100.1:1"), ROLE)
    assert checklist.progress == (0, 1)


def test_pitfall_13_one_pair_of_a_foundation_at_a_time_until_one_succeeds() -> None:
    first = pair(LOCAL, "198.51.100.1:1", 9, "same")
    second = pair(LOCAL, "198.51.100.1:2", 8, "same")
    third = pair(LOCAL, "198.51.100.1:3", 7, "mesa")  # the same letters make no same foundation
    checklist = fill(first, second, third)
    assert [item.state for item in (first, second, third)] == [PairState.WAITING, PairState.FROZEN, PairState.WAITING]
    checklist.succeed(first)
    assert second.state is PairState.WAITING
    late = pair(LOCAL, "198.51.100.1:4", 6, "same")
    assert checklist.add(late, ROLE)
    assert late.state is PairState.WAITING


def test_the_best_of_a_foundation_goes_first_though_it_comes_late() -> None:
    """RFC 8838 12, rule 1; before the first check it is as if all had come at once (RFC 8445 6.1.2.6)."""
    low, middle, high = (pair(LOCAL, f"198.51.100.1:{number}", number, "same") for number in (1, 2, 3))
    checklist = fill(low, middle)
    assert (low.state, middle.state) == (PairState.FROZEN, PairState.WAITING)
    checklist.trigger(middle)
    assert checklist.add(high, ROLE)
    assert (middle.state, high.state) == (PairState.WAITING, PairState.WAITING), "a triggered one stays"
    assert [checklist.next_pair() for _ in range(2)] == [middle, high]


def test_a_pair_of_a_foundation_that_failed_is_frozen_and_thaws_at_once() -> None:
    """RFC 8838 12, rule 3."""
    first, late = pair(LOCAL, "198.51.100.1:1", 9, "same"), pair(LOCAL, "198.51.100.1:2", 8, "same")
    checklist = fill(first)
    checklist.fail(first, PairProblem.NO_ANSWER)
    assert checklist.add(late, ROLE)
    assert late.state is PairState.FROZEN
    assert checklist.next_pair() is late


def test_frozen_pair_thaws_when_nothing_of_its_foundation_is_under_way() -> None:
    first, second, third = (pair(LOCAL, f"198.51.100.1:{port}", 10 - port, "same") for port in (1, 2, 3))
    checklist = fill(first, second, third)
    for item in (first, second):
        assert checklist.next_pair() is item
        item.state = PairState.IN_PROGRESS
        assert not checklist.has_work
        assert checklist.next_pair() is None
        checklist.fail(item, PairProblem.NO_ANSWER)
        assert checklist.has_work
    assert checklist.next_pair() is third


def test_triggered_pairs_come_first_in_their_order_and_once() -> None:
    best, other, last = (pair(LOCAL, f"198.51.100.{n}:1", 10 - n) for n in (1, 2, 3))
    checklist = fill(best, other, last)
    for item in (last, other, last):
        checklist.trigger(item)
    assert [checklist.next_pair() for _ in range(2)] == [last, other]
    assert checklist.next_pair() is best


def test_triggered_pairs_let_the_others_have_their_turn() -> None:
    """As many as two NATs make that show a new address with each check; the one that works is the least of all."""
    strangers = [pair(LOCAL, f"198.51.100.1:{number}") for number in range(1, 9)]
    relay = pair("203.0.113.1:1", "198.51.100.9:9")
    checklist = fill(*strangers, relay)
    for stranger in strangers:
        checklist.trigger(stranger)
    taken = []
    while (chosen := checklist.next_pair()) is not None:
        chosen.state = PairState.IN_PROGRESS
        taken.append(chosen)
    assert taken == [*strangers[:MAX_IN_A_ROW], relay, *strangers[MAX_IN_A_ROW:]]


def test_success_and_failure_take_a_pair_out_of_the_queue() -> None:
    first, second = pair(LOCAL, "198.51.100.1:1"), pair(LOCAL, "198.51.100.2:1")
    checklist = fill(first, second)
    checklist.trigger(first)
    checklist.trigger(second)
    checklist.succeed(first)
    checklist.fail(second, PairProblem.REJECTED)
    assert checklist.is_exhausted
    assert second.problem is PairProblem.REJECTED


def test_failure_ends_validity_and_claims() -> None:
    some = pair(LOCAL, "198.51.100.1:1")
    checklist = fill(some)
    some.valid, some.is_claimed = ValidPair(some.local, is_nominated=True), True
    assert checklist.valid_pairs == [some]
    assert checklist.is_concluded
    checklist.fail(some, PairProblem.NOT_SYMMETRIC)
    assert checklist.valid_pairs == []
    assert not some.is_claimed


def test_only_unanswered_pairs_are_tried_again() -> None:
    silent, refused = pair(LOCAL, "198.51.100.1:1"), pair(LOCAL, "198.51.100.2:1")
    checklist = fill(silent, refused)
    checklist.fail(silent, PairProblem.NO_ANSWER)
    checklist.fail(refused, PairProblem.REJECTED)
    checklist.retry_unanswered()
    assert (silent.state, refused.state) == (PairState.WAITING, PairState.FAILED)
    assert checklist.pending == 1


def test_full_list_prefers_better_pairs_and_drops_failed_ones_first() -> None:
    middle, low = pair(LOCAL, "198.51.100.1:1", 5), pair(LOCAL, "198.51.100.2:1", 3)
    checklist = fill(middle, low, limit=2)
    assert not checklist.add(pair(LOCAL, "198.51.100.3:1", 2), ROLE)
    high = pair(LOCAL, "198.51.100.4:1", 9)
    assert checklist.add(high, ROLE)
    assert checklist.pairs == [high, middle]
    checklist.fail(high, PairProblem.NO_ANSWER)
    lowest = pair(LOCAL, "198.51.100.5:1", 1)
    assert checklist.add(lowest, ROLE)
    assert checklist.pairs == [middle, lowest]


def test_pairs_that_matter_are_never_evicted() -> None:
    valid, running, triggered = (pair(LOCAL, f"198.51.100.{n}:1", 1) for n in (1, 2, 3))
    checklist = fill(valid, running, triggered, limit=3)
    valid.valid = ValidPair(valid.local)
    running.state = PairState.IN_PROGRESS
    checklist.trigger(triggered)
    assert not checklist.add(pair(LOCAL, "198.51.100.9:1", 9), ROLE)


def test_a_pair_whose_consent_expired_is_remembered() -> None:
    """RFC 7675 5.1: what has left the list could come back with the same credentials."""
    expired = pair(LOCAL, "198.51.100.1:1", 1)
    checklist = fill(expired, limit=1)
    expired.is_expired = True
    checklist.fail(expired, PairProblem.EXPIRED)
    assert not checklist.add(pair(LOCAL, "198.51.100.9:1", 9), ROLE)


def test_pitfall_9_role_switch_recomputes_every_priority() -> None:
    some = pair(LOCAL, "198.51.100.1:1", 5)
    checklist = fill(some)
    before = some.priority
    checklist.prioritize(Role.CONTROLLED)
    assert some.priority == before - 1  # ours is the larger one


def test_pitfall_10_replaced_remote_keeps_state_and_place() -> None:
    some, other = pair(LOCAL, "198.51.100.1:1", 5), pair(LOCAL, "198.51.100.2:1", 6)
    checklist = fill(some, other)
    some.state = PairState.SUCCEEDED
    some.valid = ValidPair(some.local, is_nominated=True)
    better = replace(host("198.51.100.1:1"), priority=7)
    checklist.replace_remote(some.remote, better, ROLE)
    assert checklist.pairs == [some, other]
    assert (some.remote, some.state, some.is_nominated) == (better, PairState.SUCCEEDED, True)


def test_remote_candidates_are_useless_when_all_their_pairs_failed() -> None:
    first, second, other = (
        pair(LOCAL, "198.51.100.1:1"),
        pair("192.0.2.9:1", "198.51.100.1:1"),
        pair(LOCAL, "198.51.100.2:1"),
    )
    checklist = fill(first, second, other)
    checklist.fail(first, PairProblem.NO_ANSWER)
    checklist.fail(other, PairProblem.NO_ANSWER)
    assert checklist.failed_remotes() == {other.remote}
    checklist.fail(second, PairProblem.NO_ANSWER)
    assert checklist.failed_remotes() == {first.remote, other.remote}


def test_pairs_of_a_closed_socket_go() -> None:
    gone, stays = pair(LOCAL, "198.51.100.1:1"), pair("192.0.2.9:1", "198.51.100.1:1")
    checklist = fill(gone, stays)
    checklist.trigger(gone)
    assert checklist.remove_base(at(LOCAL)) == [gone]
    assert checklist.pairs == [stays]
    assert checklist.next_pair() is stays


@pytest.mark.parametrize("state", PairState)
def test_progress_counts_results(state: PairState) -> None:
    some = pair(LOCAL, "198.51.100.1:1")
    checklist = fill(some)
    some.state = state
    assert checklist.progress == (int(state in (PairState.SUCCEEDED, PairState.FAILED)), 1)


def test_pitfall_18_expired_pair_stays_so_though_its_address_goes_and_comes_back() -> None:
    """RFC 7675 5.1: never again with these credentials."""
    dead = pair(LOCAL, "198.51.100.1:1")
    checklist = fill(dead)
    checklist.expire(dead)
    checklist.remove_base(dead.base)
    assert not checklist.add(pair(LOCAL, "198.51.100.1:1"), ROLE)
    assert checklist.add(pair(LOCAL, "198.51.100.2:1"), ROLE)


def test_tcp_pair_that_comes_when_one_over_udp_is_nominated_is_not_tried() -> None:
    nominated, late, later = pair(LOCAL, "198.51.100.1:1"), pair(LOCAL, "198.51.100.2:1"), pair(LOCAL, "198.51.100.3:1")
    over_tcp = replace(late.local, endpoint=Endpoint.of("192.0.2.1", 9, Transport.TCP))
    late.local = replace(over_tcp, base=over_tcp.endpoint)
    checklist = fill(nominated)
    nominated.valid, nominated.state = ValidPair(nominated.local, is_nominated=True), PairState.SUCCEEDED
    assert checklist.add(late, ROLE)
    assert (late.state, late.problem) == (PairState.FAILED, PairProblem.SUPERSEDED)
    assert checklist.add(later, ROLE)
    assert later.state is PairState.WAITING
