"""Copies, and whose answers count."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import pytest

from p2ptun.nat.drop import DropReason
from p2ptun.nat.probe import Exchange, Plan, Probe, Question
from p2ptun.stun.attribute import CHANGE_REQUEST, XOR_MAPPED_ADDRESS
from p2ptun.stun.codec import Change
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.message import Message, decode_message, success_response
from p2ptun.types import Endpoint, Transmit

NOW = 1000.0
BASE, BESIDE = Endpoint.of("192.168.1.10", 5001), Endpoint.of("192.168.1.10", 5002)
SERVER, OTHER = Endpoint.of("203.0.113.2", 3478), Endpoint.of("203.0.113.3", 3479)
SEEN = Endpoint.of("198.51.100.1", 40000)
PLAN = Plan(copies=3, interval=0.25, grace=0.5)
PLAIN = Question.plain(BASE, SERVER)
CHANGED = Question(BASE, SERVER, ((CHANGE_REQUEST, Change.ADDRESS | Change.PORT),), BASE, OTHER)
ECHO = Question(BASE, SEEN, (), BESIDE, None)


class Bench:
    """One probe."""

    def __init__(self, question: Question = PLAIN, plan: Plan = PLAN, at: float = NOW) -> None:
        self.exchange = Exchange(random.Random(1).randbytes)
        self.probe: Probe = self.exchange.ask(question, plan, at)

    def sent(self, now: float) -> list[Transmit]:
        """Let time pass, and take what is sent."""
        self.exchange.handle_timeout(now)
        following = self.exchange.next_timeout()
        assert following is None or following > now
        return list(iter(self.exchange.next_transmit, None))

    def answer(
        self,
        request: Transmit,
        source: Endpoint = SERVER,
        base: Endpoint = BASE,
        seen: Endpoint = SEEN,
        now: float = NOW,
    ) -> DropReason | None:
        """Answer a copy."""
        answer = success_response(decode_message(request.payload), (XOR_MAPPED_ADDRESS, seen))
        return self.exchange.receive(answer, source, base, now)


def over(bench: Bench) -> bool:
    return bench.probe.is_over


def test_copies_differ_and_end() -> None:
    bench = Bench(at=NOW + 1)
    assert bench.sent(NOW) == []
    copies = [bench.sent(NOW + 1 + number * 0.25) for number in range(3)]
    assert [len(each) for each in copies] == [1, 1, 1]
    assert len({each.payload for [each] in copies}) == 3
    assert not over(bench)
    assert bench.exchange.next_timeout() is not None
    assert bench.sent(NOW + 1.99) == []
    assert bench.sent(NOW + 2) == []
    assert over(bench)
    assert bench.exchange.is_over
    assert bench.exchange.next_timeout() is None
    assert bench.answer(copies[0][0], now=NOW + 2) is DropReason.UNKNOWN_TRANSACTION


def test_an_answer_ends_it_and_tells_all() -> None:
    bench = Bench()
    [first] = bench.sent(NOW)
    [second] = bench.sent(NOW + 0.25)
    assert bench.answer(second, now=NOW + 0.35) is None
    assert bench.probe.mapped == SEEN
    assert bench.probe.rtt == pytest.approx(0.1)
    assert not bench.probe.answered_first
    assert over(bench)
    assert bench.answer(first) is DropReason.UNKNOWN_TRANSACTION
    assert bench.sent(NOW + 9) == []


def test_who_persists_counts_answers() -> None:
    bench = Bench(plan=Plan(3, 0.25, 0.5, is_persistent=True))
    copies = [bench.sent(NOW + number * 0.25)[0] for number in range(3)]
    for copy in copies[:2]:
        assert bench.answer(copy, now=NOW + 0.6) is None
    assert bench.answer(copies[0], now=NOW + 0.6) is DropReason.UNKNOWN_TRANSACTION  # twice
    assert (bench.probe.asked, bench.probe.answered, bench.probe.answered_first) == (3, 2, True)
    assert bench.probe.rtt == pytest.approx(0.6)
    assert not over(bench)


@pytest.mark.parametrize(
    ("source", "base", "reason"),
    [
        (OTHER, BASE, DropReason.UNEXPECTED_SOURCE),
        (SERVER, BESIDE, DropReason.UNEXPECTED_SOCKET),
        (Endpoint.of("203.0.113.2", 3479), BASE, DropReason.UNEXPECTED_SOURCE),
    ],
)
def test_answers_from_elsewhere_are_dropped(source: Endpoint, base: Endpoint, reason: DropReason) -> None:
    bench = Bench()
    [request] = bench.sent(NOW)
    assert bench.answer(request, source, base) is reason
    assert bench.probe.answered == 0


@pytest.mark.parametrize("seen", [Endpoint.of("198.51.100.1", 0), Endpoint(IPv4Address(0), 1), Endpoint.of("::2", 1)])
def test_an_impossible_address_is_no_answer(seen: Endpoint) -> None:
    bench = Bench()
    [request] = bench.sent(NOW)
    assert bench.answer(request, seen=seen) is DropReason.UNUSABLE
    assert bench.probe.mapped is None
    assert not over(bench)


def test_a_refusal_ends_it() -> None:
    bench = Bench()
    [request] = bench.sent(NOW)
    answer = error_response(decode_message(request.payload), Code.SERVER_ERROR)
    assert bench.exchange.receive(answer, SERVER, BASE, NOW) is None
    assert bench.probe.refusal == 500
    assert over(bench)


def test_a_wish_that_is_followed_is_answered_from_elsewhere() -> None:
    bench = Bench(CHANGED)
    [request] = bench.sent(NOW)
    assert bench.answer(request, OTHER) is None
    assert bench.probe.answered == 1


def test_a_wish_that_is_ignored_ends_it() -> None:
    bench = Bench(CHANGED)
    [request] = bench.sent(NOW)
    assert bench.answer(request, SERVER) is None
    assert bench.probe.is_ignored
    assert bench.probe.refusal is None
    assert over(bench)


@pytest.mark.parametrize("has_code", [True, False])
def test_a_wish_that_is_refused_ends_it(has_code: bool) -> None:
    bench = Bench(CHANGED)
    [request] = bench.sent(NOW)
    answer = error_response(decode_message(request.payload), Code.UNKNOWN_ATTRIBUTE)
    if not has_code:
        answer = Message(answer.method, answer.message_class, answer.transaction_id)
    assert bench.exchange.receive(answer, SERVER, BASE, NOW) is None
    assert bench.probe.refusal == (420 if has_code else 0)
    assert over(bench)


def test_an_echo_is_the_request_itself() -> None:
    bench = Bench(ECHO)
    [request] = bench.sent(NOW)
    assert bench.answer(request, SEEN, BESIDE) is DropReason.UNKNOWN_TRANSACTION
    message = decode_message(request.payload)
    assert bench.exchange.receive(message, OTHER, BASE, NOW) is DropReason.UNEXPECTED_SOURCE  # to the wrong socket
    assert bench.exchange.receive(message, OTHER, BESIDE, NOW + 0.1) is None
    assert bench.probe.answered == 1
    assert bench.probe.mapped is None


def test_our_own_request_is_no_answer() -> None:
    bench = Bench()
    [request] = bench.sent(NOW)
    message = decode_message(request.payload)
    assert bench.exchange.receive(message, SERVER, BASE, NOW) is DropReason.UNKNOWN_TRANSACTION


def test_what_cant_be_sent_ends() -> None:
    bench = Bench()
    beside = bench.exchange.ask(Question.plain(BESIDE, SERVER), PLAN, NOW)
    bench.sent(NOW)
    bench.exchange.fail(BASE, SERVER)
    assert over(bench)
    assert [each.is_over for each in (bench.probe, beside)] == [True, False]
    bench.exchange.stop()
    assert beside.is_over
    assert bench.exchange.is_over


def test_winding_up_waits_for_the_last_answer() -> None:
    bench = Bench()
    [request] = bench.sent(NOW)
    bench.probe.wind_up(NOW + 0.1)
    bench.probe.wind_up(NOW + 0.2)  # again changes nothing
    assert bench.sent(NOW + 0.3) == []
    assert bench.exchange.next_timeout() == pytest.approx(NOW + 0.6)
    assert bench.answer(request, now=NOW + 0.5) is None


def test_the_order_is_that_of_first_copies() -> None:
    bench = Bench(at=NOW + 0.1)
    earlier = bench.exchange.ask(Question.plain(BESIDE, SERVER), PLAN, NOW)
    bench.sent(NOW + 0.3)
    bench.sent(NOW + 0.6)
    assert bench.exchange.order == [earlier, bench.probe]
