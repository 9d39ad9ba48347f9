"""Caps on bytes a second."""

from __future__ import annotations

from p2ptun.relay.meter import Bucket, Meter

NOW = 1000.0


def test_a_rate_of_zero_is_no_cap() -> None:
    bucket = Bucket(0)
    bucket.take(10**9)
    assert bucket.is_open(NOW)


def test_a_batch_passes_whole_and_is_paid_back() -> None:
    bucket = Bucket(1000)
    assert bucket.is_open(NOW)
    bucket.take(3000)
    assert not bucket.is_open(NOW + 2.0)
    assert bucket.is_open(NOW + 2.1)


def test_a_clock_that_stands_still_fills_nothing() -> None:
    bucket = Bucket(1000)
    assert bucket.is_open(NOW)
    bucket.take(1000)
    assert not bucket.is_open(NOW)
    assert not bucket.is_open(NOW - 5.0)


def test_idle_time_saves_one_second_at_most() -> None:
    bucket = Bucket(1000)
    assert bucket.is_open(NOW)
    bucket.take(0)
    assert bucket.is_open(NOW + 100.0)
    bucket.take(1000)
    assert not bucket.is_open(NOW + 100.0)


def test_what_passes_is_counted_here_and_in_the_whole() -> None:
    whole = Meter(0)
    one, other = Meter(0, whole), Meter(0, whole)
    assert one.count(2, 200, NOW)
    assert other.count(1, 50, NOW)
    assert (one.packets, one.bytes, whole.packets, whole.bytes) == (2, 200, 3, 250)


def test_what_a_cap_stops_is_counted_nowhere() -> None:
    whole = Meter(100)
    meter, other = Meter(1000, whole), Meter(10, whole)
    assert meter.count(1, 100, NOW)
    assert not meter.count(1, 1, NOW)
    assert (meter.bytes, whole.bytes) == (100, 100)
    assert other.count(1, 20, NOW + 1.0)
    assert not other.count(1, 1, NOW + 1.0)
    assert whole.bytes == 120
