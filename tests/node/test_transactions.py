"""Whose an answer is: known for as long as it may come, whatever else is asked meanwhile, and not for ever."""

from __future__ import annotations

import random

import pytest

from p2ptun.node import transactions
from p2ptun.node.transactions import LIFETIME, TransactionTable
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message

START = 1000.0


def identifier(number: int) -> TransactionId:
    return TransactionId(number.to_bytes(12, "big"))


def stun(number: int, message_class: MessageClass = MessageClass.REQUEST) -> bytes:
    return encode_message(Message(Method.BINDING, message_class, identifier(number)))


def test_an_answer_finds_its_way_as_often_as_it_comes() -> None:
    table = TransactionTable()
    table.record_sent(stun(1), "a")
    table.record_sent(stun(2), "b")
    assert [table.find(identifier(number)) for number in (1, 2, 1, 3)] == ["a", "b", "a", None]


@pytest.mark.parametrize("message_class", [each for each in MessageClass if each is not MessageClass.REQUEST])
def test_only_requests_have_answers(message_class: MessageClass) -> None:
    table = TransactionTable()
    table.record_sent(stun(1, message_class), "a")
    table.record_sent(b"\xd4" + bytes(40), "a")
    table.record_sent(b"", "a")
    assert len(table) == 0


@pytest.mark.parametrize("seed", range(10))
def test_an_entry_lives_for_one_to_two_lifetimes_after_its_last_copy(seed: int) -> None:
    draw = random.Random(seed)
    table, sent_at = TransactionTable(), dict[int, float]()
    now = START
    for _ in range(2000):
        now += draw.random() * draw.choice([0.1, 1.0, 10.0])
        table.handle_timeout(now)
        number = draw.randrange(100)
        if draw.random() < 0.5:
            sent_at[number] = now
            table.record_sent(stun(number), "a")
        age = now - sent_at.get(number, float("-inf"))
        found = table.find(identifier(number))
        assert found == "a" or age >= LIFETIME, f"seed {seed}"
        assert found is None or age <= 2 * LIFETIME + 10, f"seed {seed}"


def test_time_that_nobody_told_of_takes_nothing() -> None:
    table = TransactionTable()
    table.handle_timeout(START)
    table.record_sent(stun(1), "a")  # much later, but no timeout was handled since
    table.handle_timeout(START + 1000)
    assert table.find(identifier(1)) == "a"
    table.handle_timeout(START + 1000 + LIFETIME)
    assert table.find(identifier(1)) is None


def test_it_is_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_REMEMBERED", 10)
    table = TransactionTable()
    for number in range(35):
        table.record_sent(stun(number), "a")
        assert len(table) <= 20
        assert table.find(identifier(number)) == "a"
    assert table.find(identifier(0)) is None
