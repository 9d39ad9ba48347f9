"""The RTO ladder, the stream, the end of both, and the estimate behind the first step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.stun.transaction import (
    INITIAL_RTO,
    MINIMUM_RTO,
    RTT_LIFETIME,
    RttEstimator,
    Transaction,
    TransactionState,
)

START = 1000.0


def run(transaction: Transaction) -> list[float]:
    """Drive it to its end; return when it sent, relative to START, and last when it ended."""
    times = []
    now = START
    while True:
        if transaction.next_transmit() is not None:
            times.append(now - START)
        at = transaction.next_timeout()
        if at is None:
            return [*times, now - START]
        assert at > now
        now = at
        transaction.handle_timeout(now)


def test_the_ladder_of_rfc8489_6_2_1() -> None:
    transaction = Transaction(b"request", START)
    assert run(transaction) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 39.5]
    assert transaction.is_expired
    assert transaction.transmitted == 7
    assert transaction.started_at == START


def test_another_rto_scales_the_ladder() -> None:
    assert run(Transaction(b"request", START, rto=1.0)) == [0, 1, 3, 7, 15, 31, 63, 79]


def test_a_stream_sends_once_and_waits_ti() -> None:
    transaction = Transaction(b"request", START, is_reliable=True)
    assert transaction.next_timeout() == START + 39.5
    assert run(transaction) == [0, 39.5]
    assert transaction.is_expired


def test_copies_are_identical_and_given_once() -> None:
    transaction = Transaction(b"request", START)
    assert transaction.next_timeout() == START + 0.5
    assert transaction.next_transmit() == b"request"
    assert transaction.next_transmit() is None
    transaction.handle_timeout(START + 0.4)
    assert transaction.next_transmit() is None
    transaction.handle_timeout(START + 0.5)
    assert transaction.next_transmit() == b"request"
    assert transaction.state is TransactionState.ACTIVE


def test_a_first_answer_gives_the_round_trip() -> None:
    transaction = Transaction(b"request", START)
    assert transaction.complete(START + 0.125) == 0.125
    assert transaction.state is TransactionState.COMPLETED
    assert transaction.next_timeout() is None
    assert transaction.next_transmit() is None


def test_an_answer_after_a_repetition_gives_none() -> None:
    transaction = Transaction(b"request", START)
    transaction.handle_timeout(START + 0.5)
    assert transaction.complete(START + 0.6) is None


def test_cancelled_it_still_listens_until_the_end() -> None:
    transaction = Transaction(b"request", START)
    transaction.cancel()
    assert transaction.next_transmit() is None
    assert transaction.next_timeout() == START + 39.5
    transaction.handle_timeout(START + 1)
    assert transaction.next_transmit() is None
    assert transaction.complete(START + 2) == 2
    transaction.cancel()
    assert transaction.state is TransactionState.COMPLETED


def test_cancelled_it_expires() -> None:
    transaction = Transaction(b"request", START)
    transaction.cancel()
    assert transaction.state is TransactionState.CANCELLED
    transaction.handle_timeout(START + 39.5)
    assert transaction.is_expired


def test_after_a_suspend_it_is_over_at_once() -> None:
    transaction = Transaction(b"request", START)
    transaction.handle_timeout(START + 3600)
    assert transaction.is_expired
    assert transaction.next_timeout() is None
    assert transaction.next_transmit() is None


@given(
    st.lists(st.one_of(st.floats(0, 20), st.just("cancel")), max_size=30),
    st.booleans(),
    st.floats(0.05, 3),
)
def test_no_busy_loop(steps: list[float | str], is_reliable: bool, rto: float) -> None:
    transaction = Transaction(b"request", START, rto, is_reliable)
    now, sent = START, 0
    for step in steps:
        if isinstance(step, str):
            transaction.cancel()
        else:
            now += step
            transaction.handle_timeout(now)
            transaction.handle_timeout(now)
        sent += transaction.next_transmit() is not None
        at = transaction.next_timeout()
        assert at is None or at > now
        assert (at is None) is transaction.is_expired
    assert sent <= (1 if is_reliable else 7)


def test_the_estimate_of_rfc6298() -> None:
    estimator = RttEstimator()
    assert estimator.rto(START) == INITIAL_RTO
    estimator.record(0.2, START)
    assert estimator.rto(START) == pytest.approx(0.2 + 4 * 0.1)
    estimator.record(0.4, START + 1)
    variation = 0.75 * 0.1 + 0.25 * 0.2
    assert estimator.rto(START + 1) == pytest.approx(0.875 * 0.2 + 0.125 * 0.4 + 4 * variation)


def test_a_fast_path_does_not_repeat_at_every_hiccup() -> None:
    estimator = RttEstimator()
    estimator.record(0.001, START)
    assert estimator.rto(START) == MINIMUM_RTO


def test_an_old_estimate_is_forgotten() -> None:
    estimator = RttEstimator()
    estimator.record(2.0, START)
    assert estimator.rto(START + RTT_LIFETIME) == 6.0
    later = START + RTT_LIFETIME + 1
    assert estimator.rto(later) == INITIAL_RTO
    estimator.record(0.2, later)
    assert estimator.rto(later) == pytest.approx(0.6)
