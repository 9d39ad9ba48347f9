from __future__ import annotations

from p2ptun.tunnel.admission import HANDSHAKE_BURST, REMEMBERED, UNBOUND_BURST, Gate, TokenBucket
from p2ptun.tunnel.cookie import Stamp
from p2ptun.tunnel.event import Refusal
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.wire import (
    CookieReply,
    Initiation,
    MessageType,
    Response,
    decode_initiation,
    decode_response,
    encode_body,
)
from tests.tunnel.world import GREATER, LESSER, stream_of

NOW = 1000.0


def gate() -> Gate:
    return Gate(GREATER.public, stream_of("gate"))


def initiation(number: int, stamp: Stamp | None = None) -> Initiation:
    noise = number.to_bytes(32, "big") + bytes(64)
    body = encode_body(MessageType.INITIATION, SessionIndex(1), noise)
    return decode_initiation((stamp or Stamp(GREATER.public)).initiation(body, NOW))


def response(stamp: Stamp) -> Response:
    return decode_response(stamp.response(encode_body(MessageType.RESPONSE, SessionIndex(1), bytes(48))))


def exhaust(one: Gate) -> None:
    for number in range(HANDSHAKE_BURST):
        assert one.inspect_initiation(initiation(number), b"", NOW) is None


def test_a_bucket_fills_with_time() -> None:
    bucket = TokenBucket(2.0, 3)
    assert [bucket.take(NOW) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(NOW + 0.4)
    assert bucket.take(NOW + 0.5)
    assert not bucket.take(NOW + 0.5)
    assert not bucket.take(NOW - 100)
    assert [bucket.take(NOW + 1e6) for _ in range(4)] == [True, True, True, False]


def test_mac1_for_somebody_else() -> None:
    assert gate().inspect_initiation(initiation(1, Stamp(LESSER.public)), b"", NOW) is Refusal.WRONG_MAC
    assert gate().inspect_response(response(Stamp(LESSER.public)), NOW) is Refusal.WRONG_MAC


def test_what_was_authentic_once_is_a_replay() -> None:
    one = gate()
    assert one.inspect_initiation(initiation(1), b"", NOW) is None
    assert one.inspect_initiation(initiation(1), b"", NOW) is None  # it might have been a forgery
    assert one.admit(initiation(1), True, NOW)
    assert one.inspect_initiation(initiation(1), b"", NOW + 1e6) is Refusal.REPLAYED


def test_the_memory_is_bounded() -> None:
    one = gate()
    for number in range(REMEMBERED + 1):
        assert one.admit(initiation(number), True, NOW)
    assert one.inspect_initiation(initiation(0), b"", NOW) is None
    assert one.inspect_initiation(initiation(1), b"", NOW) is Refusal.REPLAYED
    assert len(one._seen) == len(one._seen_in_order) == REMEMBERED


def test_unbound_ones_are_rationed_and_bound_ones_arent() -> None:
    one = gate()
    admitted = [one.admit(initiation(number), False, NOW) for number in range(UNBOUND_BURST + 2)]
    assert admitted == [True] * UNBOUND_BURST + [False, False]
    assert one.admit(initiation(100), True, NOW)
    assert one.admit(initiation(101), False, NOW + 2.5)


def test_a_flood_without_sources_is_dropped() -> None:
    one = gate()
    exhaust(one)
    assert one.inspect_initiation(initiation(99), b"", NOW) is Refusal.OVERLOADED
    assert one.inspect_initiation(initiation(99), b"", NOW + 0.06) is None


def test_under_load_a_cookie_opens_the_gate_for_its_source() -> None:
    one, stamp = gate(), Stamp(GREATER.public)
    exhaust(one)
    reply = one.inspect_initiation(initiation(99, stamp), b"here", NOW)
    assert isinstance(reply, CookieReply)
    stamp.accept(reply, NOW)
    second = initiation(100, stamp)
    assert isinstance(one.inspect_initiation(second, b"there", NOW), CookieReply)
    for _ in range(HANDSHAKE_BURST):
        assert one.inspect_initiation(second, b"here", NOW) is None
    assert one.inspect_initiation(second, b"here", NOW) is Refusal.OVERLOADED


def test_responses_are_rationed_too() -> None:
    one, stamp = gate(), Stamp(GREATER.public)
    verdicts = [one.inspect_response(response(stamp), NOW) for _ in range(HANDSHAKE_BURST + 1)]
    assert verdicts == [None] * HANDSHAKE_BURST + [Refusal.OVERLOADED]
