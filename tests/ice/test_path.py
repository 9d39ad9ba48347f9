from __future__ import annotations

from dataclasses import replace

from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.consent import Liveness
from p2ptun.ice.pair import CandidatePair, PairState, ValidPair
from p2ptun.ice.path import MAX_PROBED, Path
from tests.sim.network import START

from .material import pair, random_bytes_from


def valid(number: int = 1, confirmed_at: float = START) -> CandidatePair:
    some = pair("192.0.2.1:1", f"198.51.100.{number}:1")
    some.valid, some.state = ValidPair(some.local), PairState.SUCCEEDED
    some.confirm(0.1, confirmed_at)
    return some


def make() -> Path:
    return Path(AgentConfig(), random_bytes_from(1))


def test_nothing_happens_without_a_pair() -> None:
    path = make()
    path.record_sent(START)
    path.record_authenticated(START)
    path.request_consent(START)
    path.refuse(START)
    path.handle_timeout(START)
    assert (path.pair, path.selected, path.liveness, path.next_timeout()) == (None, None, None, None)
    assert not path.may_send(START)
    assert path.take_checks([], START) == []
    path.judge([])
    path.doubt(START)
    assert not path.keep_ready([], START)
    assert not path.is_healthy
    assert path.select(None, START) is None


def test_selection_is_news_when_anything_but_the_round_trip_changes() -> None:
    path, some = make(), valid()
    event = path.select(some, START)
    assert event is not None
    assert (event.base, event.destination, event.rtt, event.is_nominated) == (some.base, some.destination, 0.1, False)
    some.confirm(5.0, START)
    assert path.select(some, START) is None
    assert path.selected is not None
    assert path.selected.rtt == some.rtt
    some.valid = ValidPair(some.local, is_nominated=True)
    event = path.select(some, START)
    assert event is not None
    assert event.is_nominated
    some.remote = replace(some.remote, priority=1)
    assert path.select(some, START) is not None
    assert path.may_send(START)


def test_losing_the_pair_ends_the_watch() -> None:
    path = make()
    path.select(valid(), START)
    assert path.select(None, START) is None
    assert (path.pair, path.selected, path.liveness) == (None, None, None)


def test_pair_that_was_never_confirmed_counts_from_now() -> None:
    path, some = make(), valid()
    some.confirmed_at = None
    path.select(some, START)
    assert path.may_send(START + 29)
    assert path.take_checks([some], START) == []


def test_answers_on_the_pair_renew_consent() -> None:
    path, some = make(), valid()
    path.select(some, START)
    some.confirm(0.1, START + 20)
    path.take_checks([some], START + 20)
    assert path.may_send(START + 49)


def test_suspect_pair_is_probed_beside_the_best_others_and_yields_to_one_that_answers() -> None:
    path, some, *others = make(), *(valid(number) for number in range(1, 7))
    pairs = [some, *others]
    path.select(some, START)
    assert path.keep_ready(pairs, START)
    path.judge(pairs)
    assert not some.is_silent
    path.record_sent(START)
    path.handle_timeout(START + 2.01)
    assert path.liveness is Liveness.SUSPECT
    assert path.take_checks(pairs, START + 2.01) == [some, *others[: MAX_PROBED + 1]]
    others[0].confirm(0.01, START + 2.1)
    path.judge(pairs)
    assert not some.is_silent, "it has had no time to answer the same probe"
    path.handle_timeout(START + 2.3)
    path.judge(pairs)
    assert path.pair is some
    assert [pair.is_silent for pair in pairs] == [True, False, True, True, True, True], "the rest may be as dead"
    assert not path.is_healthy
    some.confirm(0.1, START + 3)
    assert not some.is_silent


def test_pair_in_doubt_stays_as_long_as_no_other_answers() -> None:
    path, some, other = make(), valid(1), valid(2)
    path.select(some, START)
    path.doubt(START + 1)
    path.handle_timeout(START + 2)
    path.judge([some, other])
    assert not some.is_silent
    assert not path.is_healthy


def test_the_pair_that_stands_ready_is_the_most_different_and_checked_while_the_path_is_used() -> None:
    path, some, twin, other = make(), valid(1), valid(1), valid(2)
    pairs = [some, twin, other]
    path.select(some, START)
    assert path.keep_ready(pairs, START)
    assert path.standby_pair is other
    assert path.standby is not None
    assert path.standby.destination == other.destination
    assert not path.keep_ready(pairs, START)
    at = path.next_timeout()
    assert at is not None
    assert path.take_checks(pairs, START + 12) == [other]
    path.record_sent(START)
    path.record_authenticated(START)
    path.handle_timeout(START + 16)
    assert path.liveness is Liveness.IDLE
    path.keep_ready(pairs, START + 16)
    assert other not in path.take_checks(pairs, START + 100), "an idle path is quiet"


def test_one_that_fell_silent_stands_ready_no_longer() -> None:
    path, some, other = make(), valid(1), valid(2)
    path.select(some, START)
    path.keep_ready([some, other], START)
    other.is_silent = True
    assert path.keep_ready([some, other], START)
    assert path.standby is None
    path.select(None, START)
    assert not path.keep_ready([], START)


def test_idle_path_asks_when_told_to() -> None:
    path, some = make(), valid(confirmed_at=START)
    path.select(some, START)
    path.record_sent(START)
    path.record_authenticated(START)
    path.handle_timeout(START + 16)
    assert path.liveness is Liveness.IDLE
    path.request_consent(START + 31)
    assert path.take_checks([some], START + 31) == [some]
    assert path.next_timeout() is not None


def learnt(is_nominated: bool = True) -> CandidatePair:
    """Make a valid pair whose remote candidate nobody told, of the highest priority there is."""
    some = valid(2)
    some.remote = replace(some.remote, type=CandidateType.PEER_REFLEXIVE, priority=2**31 - 1)
    some.valid = ValidPair(some.local, is_nominated)
    return some


def test_a_path_that_works_yields_to_no_address_that_nobody_told() -> None:
    """Who has read the password on its way may nominate from anywhere: traffic doesn't go there."""
    path, good, evil = make(), valid(), learnt()
    good.valid = ValidPair(good.local, is_nominated=True)
    path.select(good, START)
    assert path.select(evil, START) is None
    assert path.pair is good
    told = valid(3)
    assert path.select(told, START) is not None, "a better one that was told may take over"


def test_a_path_that_is_suspect_or_was_never_nominated_yields_to_any() -> None:
    path, good, other = make(), valid(), learnt()
    path.select(good, START)
    assert path.select(other, START) is not None
    path = make()
    good.valid = ValidPair(good.local, is_nominated=True)
    path.select(good, START)
    path.refuse(START)
    assert path.select(other, START) is not None
    assert path.pair is other


def test_whom_the_tunnel_vouches_for_may_take_over() -> None:
    path, good, moved = make(), valid(), learnt()
    good.valid = ValidPair(good.local, is_nominated=True)
    path.select(good, START)
    moved.is_vouched = True
    assert path.select(moved, START) is not None


def test_pair_over_which_the_kernel_refuses_to_send_comes_last() -> None:
    path, some = make(), valid()
    path.select(some, START)
    path.refuse(START)
    assert some.is_silent
    assert not path.is_healthy
    some.confirm(0.1, START + 1)
    assert not some.is_silent
