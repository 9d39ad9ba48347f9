from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.pair import CandidatePair, PairState, ValidPair
from p2ptun.ice.quality import FULL_MTU, SAMPLES, Quality, best_standby, is_worth_a_move, rank
from p2ptun.types import Endpoint, Transport
from tests.sim.network import START

from .material import candidate, pair


def valid(number: int = 1, rtt: float = 0.05, local: str = "192.0.2.1:1") -> CandidatePair:
    """Make a valid pair that was measured often enough."""
    some = pair(local, f"198.51.100.{number}:1")
    some.valid, some.state = ValidPair(some.local), PairState.SUCCEEDED
    for _ in range(SAMPLES):
        some.confirm(rtt, START)
    return some


def relayed(number: int = 9) -> CandidatePair:
    some = valid(number)
    some.valid = ValidPair(candidate(CandidateType.RELAYED, f"203.0.113.{number}:1"))
    return some


def over_tcp(number: int = 8) -> CandidatePair:
    some = valid(number)
    endpoint = Endpoint(some.local.endpoint.address, 9, Transport.TCP)
    some.valid = ValidPair(replace(some.local, endpoint=endpoint, tcp_type=TcpType.ACTIVE))
    return some


def test_round_trip_is_smoothed_and_counted() -> None:
    quality = Quality()
    quality.record_answer(None)
    assert (quality.rtt, quality.samples) == (None, 0)
    quality.record_answer(0.1)
    quality.record_answer(0.9)
    assert quality.rtt == pytest.approx(0.2)
    assert quality.samples == 2


def test_check_without_an_answer_counts_as_lost_when_the_next_one_goes_out() -> None:
    quality = Quality(rtt=0.1)
    quality.record_check(START)
    assert quality.loss == 0
    for number in range(1, 9):
        quality.record_check(START + 5 * number)
    assert 0.6 < quality.loss < 0.7, "eight lost in a row"
    quality.record_answer(0.1)
    assert quality.loss < 0.6
    before = quality.loss
    quality.record_answer(0.1)
    assert quality.loss == before, "one answer tells of one check"


def test_pitfall_18_late_answer_is_no_loss() -> None:
    quality = Quality(rtt=2.0)
    for number in range(8):
        quality.record_check(START + 0.4 * number)
    assert quality.loss == 0, "the answer to the first is still on its way"


def test_cost_sums_up_round_trip_loss_and_mtu() -> None:
    assert Quality().cost == 0
    assert Quality(rtt=0.05).cost == 0.05
    assert Quality(rtt=0.05, loss=0.1).cost == pytest.approx(0.15)
    assert Quality(rtt=0.05, mtu=FULL_MTU).cost == 0.05
    assert Quality(rtt=0.05, mtu=FULL_MTU // 2).cost == pytest.approx(0.1)


def test_kinds_rank_direct_before_tcp_before_relay() -> None:
    assert [rank(some) for some in (valid(), over_tcp(), relayed())] == [0, 1, 2]
    untried = valid()
    untried.valid = None
    assert rank(untried) == 0


def test_better_kind_is_always_worth_a_move_and_a_worse_one_never() -> None:
    slow, quick_relay = valid(rtt=0.5), relayed()
    assert is_worth_a_move(slow, quick_relay)
    assert not is_worth_a_move(quick_relay, slow)


@pytest.mark.parametrize(("old", "new", "is_worth"), [(0.05, 0.03, True), (0.05, 0.045, False), (0.3, 0.27, False)])
def test_equal_kinds_need_ten_milliseconds_and_a_seventh(old: float, new: float, is_worth: bool) -> None:
    assert is_worth_a_move(valid(1, new), valid(2, old)) is is_worth


def test_equal_kinds_need_measurements() -> None:
    unknown = valid(1, 0.01)
    unknown.quality = Quality(rtt=0.01, samples=SAMPLES - 1)
    assert not is_worth_a_move(unknown, valid(2, 0.5))


def test_standby_is_the_one_that_shares_least_then_the_best() -> None:
    selected = valid(1)
    same_base, other_base = valid(2, rtt=0.01), valid(3, rtt=0.2, local="192.0.2.77:1")
    assert best_standby([selected, same_base, other_base], selected) is other_base
    assert best_standby([selected, same_base, valid(4, rtt=0.05)], selected) is same_base
    assert best_standby([selected, relayed(4), valid(5, rtt=0.4)], selected) is not None
    assert rank(best_standby([selected, relayed(4), valid(5, rtt=0.4)], selected) or selected) == 0


def test_who_stands_ready_stays_unless_another_shares_less() -> None:
    selected, first, faster, apart = valid(1), valid(2), valid(3, rtt=0.001), valid(4, local="192.0.2.77:1")
    assert best_standby([selected, first, faster], selected) is faster
    assert best_standby([selected, first, faster], selected, first) is first
    assert best_standby([selected, first, apart], selected, first) is apart


def test_what_takes_over_from_a_relay_goes_through_another() -> None:
    theirs, ours, other = valid(1), valid(2, rtt=0.01, local="198.51.100.1:5"), valid(3, rtt=0.2, local="192.0.2.77:1")
    assert best_standby([theirs, ours, other], theirs) is other


def test_nobody_stands_ready_who_is_silent_or_the_same() -> None:
    selected, silent, twin = valid(1), valid(2), valid(1)
    silent.is_silent = True
    assert best_standby([selected, silent, twin], selected) is None
