"""Token buckets."""

from __future__ import annotations

import math
import tracemalloc
from ipaddress import IPv4Address, ip_address

import pytest

from p2ptun.server.http.limit import Buckets

ONE, TWO = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def test_a_burst_and_then_a_rate() -> None:
    buckets = Buckets(rate=0.5, burst=3)
    assert [buckets.take(ONE, 0) for _ in range(4)] == [0, 0, 0, 2]
    assert buckets.take(TWO, 0) == 0
    assert buckets.take(ONE, 1) == 1
    assert buckets.take(ONE, 2) == 0
    assert buckets.take(ONE, 2) == 2
    assert [buckets.take(ONE, 100) for _ in range(4)] == [0, 0, 0, 2]


def test_a_customer_of_ipv6_has_one_bucket() -> None:
    buckets = Buckets(rate=1, burst=1)
    assert buckets.take(ip_address("2001:db8:1:2::1"), 0) == 0
    assert buckets.take(ip_address("2001:db8:1:ff::9"), 0) == 1
    assert buckets.take(ip_address("2001:db8:1:100::1"), 0) == 0


def test_time_that_goes_back_fills_nothing() -> None:
    buckets = Buckets(rate=1, burst=1)
    assert buckets.take(ONE, 10) == 0
    assert buckets.take(ONE, 5) == 1


def test_without_a_rate_it_is_over() -> None:
    buckets = Buckets(rate=0, burst=1)
    assert [buckets.take(ONE, 0), buckets.take(ONE, 9)] == [0, math.inf]


def test_a_flood_of_addresses_makes_nothing_grow() -> None:
    buckets = Buckets(rate=1, burst=1, slots=100)
    tracemalloc.start()
    for number in range(20_000):
        buckets.take(IPv4Address(number), 0)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(buckets) == 100
    assert size < 100_000
    assert buckets.take(IPv4Address(19_999), 0) == 1  # whoever came last is still known


@pytest.mark.parametrize("count", [100_000])
def test_one_address_gets_no_more_however_often_it_asks(count: int) -> None:
    buckets = Buckets(rate=1, burst=60)
    allowed = sum(buckets.take(ONE, number / count) == 0 for number in range(count))  # in one second
    assert allowed == 60
    assert len(buckets) == 1
