"""The next credential is asked for in time, and never too often."""

from __future__ import annotations

from p2ptun.stun.credential import LongTermCredential
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.supply import Supply

NOW = 1000.0
ALICE = LongTermCredential("alice", "secret")


def make() -> Supply:
    return Supply(PoolConfig())


def test_one_that_lasts_for_ever_is_never_replaced() -> None:
    supply = make()
    supply.set(ALICE, None, NOW)
    supply.want(NOW)
    assert supply.wanted_at is None
    assert not supply.take_wanted(NOW + 1e6)


def test_it_is_wanted_five_minutes_before_its_end_or_half_way() -> None:
    supply = make()
    supply.set(ALICE, NOW + 3600, NOW)
    assert supply.wanted_at == NOW + 3300
    supply.set(ALICE, NOW + 100, NOW)
    assert supply.wanted_at == NOW + 50
    assert not supply.take_wanted(NOW + 49)
    assert supply.take_wanted(NOW + 50)


def test_who_does_not_answer_is_asked_again() -> None:
    supply = make()
    supply.set(ALICE, NOW, NOW)
    assert supply.take_wanted(NOW)
    assert not supply.take_wanted(NOW + 29)
    assert supply.take_wanted(NOW + 30)


def test_a_maker_of_wrong_ones_does_not_make_them_all_day() -> None:
    supply = make()
    supply.set(ALICE, NOW + 3600, NOW)
    supply.want(NOW)
    assert supply.take_wanted(NOW)
    supply.set(ALICE, NOW + 3600, NOW)
    supply.want(NOW)
    assert supply.wanted_at == NOW + 30
    supply.set(ALICE, NOW - 1, NOW)
    assert not supply.take_wanted(NOW + 29)
    assert supply.take_wanted(NOW + 30)
