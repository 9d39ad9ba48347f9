"""Bytes of answers to strangers."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, ip_address

from p2ptun.relay.limiter import SLOTS, Limiter

NOW = 1000.0
VICTIM = ip_address("192.0.2.1")


def limiter(seed: int = 1) -> Limiter:
    return Limiter(100, 1000, random.Random(seed).randbytes)


def test_an_address_gets_a_burst_and_then_the_rate() -> None:
    one = limiter()
    assert [one.take(VICTIM, 100, NOW) for _ in range(12)] == [True] * 10 + [False] * 2
    assert not one.take(VICTIM, 100, NOW + 0.9)
    assert one.take(VICTIM, 100, NOW + 2.0)
    assert one.take(VICTIM, 1000, NOW + 60.0)


def test_an_answer_larger_than_the_burst_never_goes_out() -> None:
    assert not limiter().take(VICTIM, 1001, NOW)


def test_a_clock_that_goes_back_refills_nothing() -> None:
    one = limiter()
    assert one.take(VICTIM, 1000, NOW)
    assert not one.take(VICTIM, 100, NOW - 10.0)
    assert not one.take(VICTIM, 100, NOW + 0.5)


def test_one_56_shares_a_budget() -> None:
    one = limiter()
    assert one.take(ip_address("2001:db8:0:100::1"), 1000, NOW)
    assert not one.take(ip_address("2001:db8:0:1ff::2"), 100, NOW)
    assert one.take(ip_address("2001:db8:0:200::2"), 100, NOW)


def test_a_flood_of_addresses_makes_nobody_forgotten() -> None:
    one = limiter()
    assert one.take(VICTIM, 1000, NOW)
    passed = sum(one.take(IPv4Address(0x0A000000 + number), 10, NOW) for number in range(20_000))
    assert passed > 19_000
    assert not one.take(VICTIM, 100, NOW)
    assert sum(one.take(IPv4Address(0x0B000000 + number), 1000, NOW) for number in range(20_000)) < SLOTS


def test_who_shares_a_slot_depends_on_the_secret() -> None:
    def full(seed: int) -> set[int]:
        one = limiter(seed)
        assert one.take(VICTIM, 1000, NOW)
        return {number for number in range(30_000) if not one.take(IPv4Address(number), 0 + 1, NOW)}

    assert full(1) != full(2)
