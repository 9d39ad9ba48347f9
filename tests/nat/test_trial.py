"""When silence is believed."""

from __future__ import annotations

import random

import pytest

from p2ptun.nat.probe import Exchange, Plan, Question
from p2ptun.nat.trial import DOUBT, Trial, chance_of_loss
from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.message import Message, decode_message, encode_message, success_response
from p2ptun.types import Endpoint, Transmit

NOW = 1000.0
TEST, CONTROL = Endpoint.of("192.168.1.10", 5001), Endpoint.of("192.168.1.10", 5002)
SERVER = Endpoint.of("203.0.113.2", 3478)
PLAN = Plan(copies=10, interval=0.1, grace=0.5)


class Bench:
    """A trial whose copies are answered by hand."""

    def __init__(self) -> None:
        self.exchange = Exchange(random.Random(1).randbytes)
        tests = Question.plain(TEST, SERVER), Question.plain(CONTROL, SERVER)
        self.trial = Trial.begin(self.exchange, *tests, PLAN, NOW)
        self.now = NOW

    def step(self, answers: int = 0, refuses: Endpoint | None = None) -> None:
        """Let 0.1 s pass, answering the control so many times, and refusing one socket's requests."""
        self.exchange.handle_timeout(self.now)
        for transmit in iter(self.exchange.next_transmit, None):
            request = decode_message(transmit.payload)
            if transmit.source == refuses:
                self.receive(error_response(request, Code.BAD_REQUEST), transmit)
            elif transmit.source == CONTROL and answers:
                answers -= 1
                self.receive(success_response(request, (XOR_MAPPED_ADDRESS, transmit.source)), transmit)
        self.trial.settle(self.now)
        self.now += 0.1

    def receive(self, answer: Message, transmit: Transmit) -> None:
        """Answer one copy."""
        message = decode_message(encode_message(answer))
        assert self.exchange.receive(message, transmit.destination, transmit.source, self.now) is None


def test_the_chance_is_laplace() -> None:
    assert chance_of_loss(0, 0, 0) == 1
    assert chance_of_loss(1, 0, 0) == pytest.approx(1 / 2)
    assert chance_of_loss(1, 1, 1) == pytest.approx(1 / 3)
    assert chance_of_loss(2, 0, 1) == pytest.approx(2 / 3 * 3 / 4)
    assert chance_of_loss(7, 7, 7) < DOUBT < chance_of_loss(6, 6, 6)
    assert chance_of_loss(18, 10, 18) < DOUBT


def test_silence_is_believed_when_the_control_speaks() -> None:
    bench = Bench()
    assert bench.trial.verdict is None
    for _ in range(7):
        bench.step(answers=1)
    assert bench.trial.verdict is None  # the last answer may still be on its way
    for _ in range(6):
        bench.step(answers=1)
    assert bench.trial.is_over
    assert bench.trial.test.asked == 7  # more would have told the same
    assert bench.trial.verdict is False


def test_silence_of_both_tells_nothing() -> None:
    bench = Bench()
    for _ in range(17):
        bench.step()
    assert bench.trial.is_over
    assert bench.trial.test.asked == 10
    assert bench.trial.verdict is None


def test_too_much_loss_tells_nothing() -> None:
    bench = Bench()
    for number in range(17):
        bench.step(answers=number % 2)
    assert bench.trial.is_over
    assert bench.trial.verdict is None


@pytest.mark.parametrize("refused", [TEST, CONTROL])
def test_a_refusal_is_no_silence(refused: Endpoint) -> None:
    bench = Bench()
    for _ in range(17):
        bench.step(answers=1, refuses=refused)
    assert bench.trial.is_over
    assert bench.trial.verdict is None
