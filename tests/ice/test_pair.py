from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.ice.pair import SEND_PROBLEMS, CandidatePair, PairProblem, PairState, ValidPair
from p2ptun.ice.quality import MIN_MTU
from p2ptun.ice.role import Role
from p2ptun.types import SendError
from tests.sim.network import at

from .material import host, pair, reflexive


def test_pair_is_known_by_base_and_destination() -> None:
    some = pair("192.0.2.1:1", "198.51.100.1:2")
    assert some.key == (at("192.0.2.1:1"), at("198.51.100.1:2"))
    assert some.foundation == (some.local.foundation, some.remote.foundation)


def test_pitfall_9_both_sides_agree_on_the_priority() -> None:
    ours, theirs = host("192.0.2.1:1", priority=9), host("192.0.2.2:2", priority=4)
    here = CandidatePair(ours, theirs, theirs.endpoint)
    there = CandidatePair(theirs, ours, ours.endpoint)
    here.prioritize(Role.CONTROLLING)
    there.prioritize(Role.CONTROLLED)
    assert here.priority == there.priority == 4 * 2**32 + 19
    here.prioritize(Role.CONTROLLED)
    there.prioritize(Role.CONTROLLING)
    assert here.priority == there.priority == 4 * 2**32 + 18


def test_pitfall_8_priority_and_snapshot_of_the_valid_pair_are_those_of_what_the_peer_saw() -> None:
    some = pair("10.0.0.1:1", "198.51.100.1:2")
    assert some.valid_priority(Role.CONTROLLING) == 0
    assert not some.is_nominated
    seen = replace(reflexive("203.0.113.9:7", "10.0.0.1:1"), priority=3)
    some.valid = ValidPair(seen, is_nominated=True)
    assert some.valid_priority(Role.CONTROLLING) == 3 * 2**32 + 2 * some.remote.priority
    assert some.valid_priority(Role.CONTROLLED) == 3 * 2**32 + 2 * some.remote.priority + 1
    snapshot = some.snapshot()
    assert (snapshot.local, snapshot.is_nominated, snapshot.state) == (seen, True, PairState.FROZEN)


def test_round_trip_is_smoothed_and_missing_samples_change_nothing() -> None:
    some = pair("192.0.2.1:1", "198.51.100.1:2")
    some.confirm(None, 1000.0)
    assert (some.rtt, some.confirmed_at) == (None, 1000.0)
    some.confirm(0.1, 1001.0)
    some.confirm(0.9, 1002.0)
    some.confirm(None, 1003.0)
    assert some.rtt == pytest.approx(0.2)
    assert some.confirmed_at == 1003.0


def test_every_send_error_is_judged() -> None:
    assert set(SEND_PROBLEMS) == set(SendError)


def test_datagram_that_is_too_big_tells_of_the_mtu() -> None:
    some = pair("192.0.2.1:1", "198.51.100.1:2")
    some.blame(PairProblem.REFUSED)
    assert (some.problem, some.quality.mtu) == (PairProblem.REFUSED, None)
    some.blame(PairProblem.TOO_BIG)
    assert some.quality.mtu == MIN_MTU
    assert some.quality.cost > pair("192.0.2.1:1", "198.51.100.1:2").quality.cost
