"""Requests are signed, repeated byte by byte, signed anew when challenged, and matched with authentic answers only."""

from __future__ import annotations

import pytest

from p2ptun.stun.attribute import NONCE, PASSWORD_ALGORITHM, REALM, USERHASH, USERNAME
from p2ptun.stun.credential import LongTermCredential, SecurityFeature
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import HMAC_SHA256
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.turn.event import DropReason
from p2ptun.turn.request import UNUSABLE, Answer, Purpose, Requests
from p2ptun.types import Endpoint

from .world import ALICE, START, Relay, random_bytes_from, refuse


def make(is_reliable: bool = False, credential: LongTermCredential | None = ALICE) -> Requests:
    return Requests(credential, random_bytes_from(1), is_reliable)


def relay(**options: object) -> Relay:
    made = Relay(Endpoint.of("203.0.113.1", 3478))
    for name, value in options.items():
        setattr(made, name, value)
    return made


def drain(requests: Requests) -> list[bytes]:
    return list(iter(requests.next_transmit, None))


def exchange(requests: Requests, server: Relay, now: float = START) -> list[Answer | DropReason | None]:
    """Carry requests and answers until nobody has anything to say."""
    outcomes = []
    while payloads := drain(requests):
        for payload in payloads:
            reply = server.receive(payload, now)
            if reply is not None:
                outcomes.append(requests.receive(decode_message(reply), now))
    return outcomes


def answered(outcomes: list[Answer | DropReason | None]) -> Answer:
    (answer,) = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    return answer


def test_the_first_request_is_bare_and_the_second_is_signed_with_another_id() -> None:
    requests, server = make(), relay()
    requests.ask(Purpose.ALLOCATE, (), START)
    passed_before = requests.may_have_passed
    assert answered(exchange(requests, server)).code is None
    bare, signed = server.requests(Method.ALLOCATE)
    assert bare.get(REALM) is None
    assert signed.get(USERNAME) == "alice"
    assert signed.get(PASSWORD_ALGORITHM) is not None
    assert signed.integrity == HMAC_SHA256
    assert bare.transaction_id != signed.transaction_id
    assert (passed_before, requests.may_have_passed) == (False, True)
    assert not requests.is_anonymous
    assert requests.rtt == 0.0


def test_a_user_name_is_hidden_where_the_server_offers_it() -> None:
    server = relay(features=SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY)
    server.restart(b"other")
    requests = make()
    requests.ask(Purpose.ALLOCATE, (), START)
    assert answered(exchange(requests, server)).code is None
    signed = server.requests(Method.ALLOCATE)[1]
    assert signed.get(USERNAME) is None
    assert signed.get(USERHASH) is not None


def test_a_stale_nonce_is_replaced_for_every_method() -> None:
    requests, server = make(), relay()
    requests.ask(Purpose.ALLOCATE, (), START)
    exchange(requests, server)
    server.restart(b"another secret, other nonces")
    for purpose in (Purpose.REFRESH, Purpose.PROBE, Purpose.PERMIT):
        requests.ask(purpose, (), START)
    outcomes = exchange(requests, server)
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Answer)] == [None] * 3
    nonces = [message.get(NONCE) for message in server.seen[2:]]
    assert len(set(nonces[:3])) == 1
    assert len(set(nonces[3:])) == 1
    assert nonces[0] != nonces[3]
    assert len({message.transaction_id for message in server.seen}) == len(server.seen) == 8


def test_a_second_401_ends_it() -> None:
    requests, server = make(credential=LongTermCredential("alice", "wrong")), relay()
    requests.ask(Purpose.ALLOCATE, (), START)
    answer = answered(exchange(requests, server))
    assert answer.is_rejected
    assert answer.code == Code.UNAUTHENTICATED
    assert len(server.seen) == 2
    assert not requests.awaits(Purpose.ALLOCATE)


def test_copies_are_identical() -> None:
    requests = make()
    requests.ask(Purpose.ALLOCATE, (), START)
    copies = drain(requests)
    while (timeout := requests.next_timeout()) is not None and not requests.handle_timeout(timeout):
        copies += drain(requests)
    assert len(copies) == 7
    assert len(set(copies)) == 1


def test_a_stream_repeats_nothing() -> None:
    requests = make(is_reliable=True)
    requests.ask(Purpose.ALLOCATE, (), START)
    assert len(drain(requests)) == 1
    assert requests.next_timeout() == START + 39.5
    (given_up,) = requests.handle_timeout(START + 39.5)
    assert given_up.purpose is Purpose.ALLOCATE
    assert requests.next_timeout() is None


def test_patience_ends_before_the_transaction_and_outlives_a_challenge() -> None:
    requests, server = make(), relay()
    requests.ask(Purpose.PROBE, (), START, START + 2.5)
    (payload,) = drain(requests)
    assert requests.handle_timeout(START + 1) == []
    reply = server.receive(payload, START + 1)
    assert reply is not None
    assert requests.receive(decode_message(reply), START + 1) is None
    assert requests.awaits(Purpose.PROBE)
    assert [one.purpose for one in requests.handle_timeout(START + 2.5)] == [Purpose.PROBE]
    assert requests.rtt is None  # Karn: it was repeated


def forged(requests: Requests, server: Relay) -> Message:
    """Have a signed request in flight, and a success for it from somebody without the key."""
    requests.ask(Purpose.ALLOCATE, (), START)
    exchange(requests, server)
    requests.ask(Purpose.REFRESH, (), START)
    (payload,) = drain(requests)
    return decode_message(encode_message(success_response(decode_message(payload))))


def test_over_udp_what_is_not_authentic_never_came() -> None:
    requests = make()
    assert requests.receive(forged(requests, relay()), START) is DropReason.UNAUTHENTICATED
    assert requests.awaits(Purpose.REFRESH)


def test_over_a_stream_it_is_the_end_of_the_request() -> None:
    requests = make(is_reliable=True)
    outcome = requests.receive(forged(requests, relay()), START)
    assert isinstance(outcome, Answer)
    assert outcome.code == UNUSABLE
    assert not requests.awaits(Purpose.REFRESH)


@pytest.mark.parametrize("is_reliable", [False, True])
def test_a_challenge_without_a_nonce_never_came(is_reliable: bool) -> None:
    requests = make(is_reliable)
    requests.ask(Purpose.ALLOCATE, (), START)
    (payload,) = drain(requests)
    bare = error_response(decode_message(payload), Code.UNAUTHENTICATED)
    assert requests.receive(bare, START) is DropReason.UNAUTHENTICATED


def test_answers_to_nothing() -> None:
    requests = make()
    requests.ask(Purpose.REFRESH, (), START)
    (payload,) = drain(requests)
    asked = decode_message(payload)
    stranger = Message(Method.REFRESH, MessageClass.SUCCESS, TransactionId(bytes(12)))
    other_method = Message(Method.ALLOCATE, MessageClass.SUCCESS, asked.transaction_id)
    for response in (stranger, other_method):
        assert requests.receive(response, START) is DropReason.UNKNOWN_TRANSACTION
    requests.drop(Purpose.REFRESH)
    assert requests.receive(success_response(asked), START) is DropReason.UNKNOWN_TRANSACTION


def test_without_a_credential_nothing_is_signed() -> None:
    requests, server = make(credential=None), relay(credentials=None)
    assert requests.may_have_passed
    assert requests.is_anonymous
    requests.ask(Purpose.ALLOCATE, (), START)
    assert answered(exchange(requests, server)).code is None
    requests.ask(Purpose.ALLOCATE, (), START)
    server.scripts[Method.ALLOCATE] = refuse(Code.FORBIDDEN)
    assert answered(exchange(requests, server)).code == Code.FORBIDDEN


def test_without_a_credential_a_challenge_is_a_rejection() -> None:
    requests = make(credential=None)
    requests.ask(Purpose.ALLOCATE, (), START)
    assert answered(exchange(requests, relay())).is_rejected


def test_answers_that_can_not_be_understood() -> None:
    requests = make(credential=None)
    for response in (
        Message(Method.REFRESH, MessageClass.ERROR, TransactionId(b"")),
        Message(Method.REFRESH, MessageClass.SUCCESS, TransactionId(b""), unknown_required=(0x77,)),
    ):
        requests.ask(Purpose.REFRESH, (), START)
        asked = decode_message(drain(requests)[0])
        bad = Message(
            response.method,
            response.message_class,
            asked.transaction_id,
            unknown_required=response.unknown_required,
        )
        outcome = requests.receive(bad, START)
        assert isinstance(outcome, Answer)
        assert outcome.code == UNUSABLE


def test_the_rto_follows_the_round_trip() -> None:
    requests, server = make(), relay()
    requests.ask(Purpose.ALLOCATE, (), START)
    assert requests.next_timeout() == START + 0.5
    exchange(requests, server, START + 0.05)
    requests.ask(Purpose.REFRESH, (), START + 1)
    assert requests.next_timeout() == START + 1.5  # a keepalive has time
    requests.ask(Purpose.PROBE, (), START + 1)
    timeout = requests.next_timeout()
    assert timeout is not None
    assert timeout - START - 1 < 0.2
    requests.drop(Purpose.PROBE)
    assert requests.awaits(Purpose.REFRESH)
    assert requests.next_timeout() == START + 1.5
