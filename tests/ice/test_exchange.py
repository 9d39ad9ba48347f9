from __future__ import annotations

from p2ptun.ice.exchange import MAX_WAITING, Check, Exchange, Purpose
from p2ptun.ice.pair import CandidatePair
from p2ptun.ice.role import Role
from p2ptun.stun.message import TransactionId
from p2ptun.stun.transaction import Transaction
from p2ptun.types import Transmit
from tests.sim.network import START

from .material import pair


def start(exchange: Exchange, some: CandidatePair, name: str, purpose: Purpose = Purpose.CHECK) -> Check:
    payload = name.encode().ljust(12)
    check = Check(some, purpose, Role.CONTROLLING, False, TransactionId(payload), Transaction(payload, START))
    exchange.start(check)
    return check


def drain(exchange: Exchange) -> list[Transmit]:
    sent = []
    while (packet := exchange.next_transmit()) is not None:
        sent.append(packet)
    return sent


def advance(exchange: Exchange, until: float) -> tuple[int, list[Check]]:
    """Run the timers; give how much was sent and what expired."""
    count, expired = 0, []
    while (timeout := exchange.next_timeout()) is not None and timeout <= until:
        expired += exchange.handle_timeout(timeout)
        count += len(drain(exchange))
    return count, expired


def test_check_is_repeated_until_its_end_and_counts_its_attempts() -> None:
    exchange, some = Exchange(), pair("192.0.2.1:1", "198.51.100.1:1")
    check = start(exchange, some, "a")
    assert drain(exchange) == [Transmit(b"a".ljust(12), some.base, some.destination)]
    assert advance(exchange, START + 39) == (6, [])
    assert some.attempts == 7
    assert exchange.is_checking(some)
    assert advance(exchange, START + 40) == (0, [check])
    assert exchange.find(check.transaction_id) is None
    assert exchange.next_timeout() is None


def test_only_the_last_checks_of_a_pair_wait_for_answers() -> None:
    exchange, some, other = Exchange(), pair("192.0.2.1:1", "198.51.100.1:1"), pair("192.0.2.1:1", "198.51.100.2:2")
    kept = [start(exchange, other, "o"), start(exchange, some, "n", Purpose.NOMINATE)]
    checks = [start(exchange, some, str(number)) for number in range(10)]
    assert [check for check in checks if exchange.find(check.transaction_id)] == checks[-MAX_WAITING:]
    assert [exchange.find(check.transaction_id) for check in kept] == kept


def test_answered_check_ends_with_its_round_trip() -> None:
    exchange, some = Exchange(), pair("192.0.2.1:1", "198.51.100.1:1")
    check = start(exchange, some, "a")
    assert exchange.find(check.transaction_id) is check
    assert exchange.complete(check, START + 0.25) == 0.25
    assert not exchange.is_checking(some)


def test_pitfall_14_quiet_check_sends_no_more_but_still_listens() -> None:
    exchange, some, other = Exchange(), pair("192.0.2.1:1", "198.51.100.1:1"), pair("192.0.2.1:1", "198.51.100.2:1")
    check, stays = start(exchange, some, "a"), start(exchange, other, "b")
    drain(exchange)
    exchange.quiet(some)
    assert exchange.find(check.transaction_id) is check
    sent, expired = advance(exchange, START + 40)
    assert sent == 6
    assert expired == [check, stays]
    assert some.attempts == 0


def test_pitfall_18_consent_check_is_sent_once_and_waits_on() -> None:
    exchange, some = Exchange(), pair("192.0.2.1:1", "198.51.100.1:1")
    check = start(exchange, some, "a", Purpose.CONSENT)
    assert len(drain(exchange)) == 1
    assert not exchange.is_checking(some)
    assert advance(exchange, START + 39) == (0, [])
    assert exchange.find(check.transaction_id) is check


def test_checks_of_a_gone_pair_are_forgotten() -> None:
    exchange, some, other = Exchange(), pair("192.0.2.1:1", "198.51.100.1:1"), pair("192.0.2.1:1", "198.51.100.2:1")
    start(exchange, some, "a")
    start(exchange, other, "b")
    exchange.forget(some)
    assert [packet.destination for packet in drain(exchange)] == [other.destination]
