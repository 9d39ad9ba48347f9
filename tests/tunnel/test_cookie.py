from __future__ import annotations

import pytest

from p2ptun.errors import AuthenticationFailed
from p2ptun.tunnel.cookie import COOKIE_LIFETIME, NO_MAC, SECRET_LIFETIME, CookieIssuer, Stamp, mac1_key, mac_of
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.wire import CookieReply, MessageType, decode_initiation, decode_response, encode_body
from tests.tunnel.world import GREATER, LESSER, stream_of

NOW = 1000.0
HERE, THERE = b"here", b"there"
BODY = encode_body(MessageType.INITIATION, SessionIndex(9), bytes(range(96)))


def issuer() -> CookieIssuer:
    return CookieIssuer(GREATER.public, stream_of("issuer"))


def test_mac1_is_for_one_receiver() -> None:
    sent = decode_initiation(Stamp(GREATER.public).initiation(BODY, NOW))
    assert sent.mac1 == mac_of(mac1_key(GREATER.public), BODY)
    assert sent.mac1 != mac_of(mac1_key(LESSER.public), BODY)
    assert sent.mac2 == NO_MAC
    body = encode_body(MessageType.RESPONSE, SessionIndex(9), bytes(48))
    answered = decode_response(Stamp(GREATER.public).response(body))
    assert answered.mac1 == mac_of(mac1_key(GREATER.public), body)


def test_a_cookie_proves_the_source() -> None:
    responder, stamp = issuer(), Stamp(GREATER.public)
    first = decode_initiation(stamp.initiation(BODY, NOW))
    assert not responder.has_valid_mac2(first, HERE, NOW)
    reply = responder.reply(first, HERE, NOW)
    assert reply.receiver == 9
    stamp.accept(reply, NOW)
    second = decode_initiation(stamp.initiation(BODY + b"again", NOW))
    assert responder.has_valid_mac2(second, HERE, NOW)
    assert not responder.has_valid_mac2(second, THERE, NOW)
    assert responder.has_valid_mac2(second, HERE, NOW + SECRET_LIFETIME - 1)
    assert not responder.has_valid_mac2(second, HERE, NOW + SECRET_LIFETIME)


def test_an_old_cookie_isnt_used() -> None:
    responder, stamp = issuer(), Stamp(GREATER.public)
    stamp.accept(responder.reply(decode_initiation(stamp.initiation(BODY, NOW)), HERE, NOW), NOW)
    assert decode_initiation(stamp.initiation(BODY, NOW + COOKIE_LIFETIME - 1)).mac2 != NO_MAC
    assert decode_initiation(stamp.initiation(BODY, NOW + COOKIE_LIFETIME)).mac2 == NO_MAC


def test_a_cookie_answers_one_initiation() -> None:
    responder, stamp = issuer(), Stamp(GREATER.public)
    reply = responder.reply(decode_initiation(stamp.initiation(BODY, NOW)), HERE, NOW)
    other = Stamp(GREATER.public)
    other.initiation(BODY + b"another", NOW)
    with pytest.raises(AuthenticationFailed):
        other.accept(reply, NOW)
    stamp.accept(reply, NOW)
    with pytest.raises(AuthenticationFailed, match="nobody asked"):
        stamp.accept(reply, NOW)


def test_a_forged_cookie_is_refused() -> None:
    responder, stamp = issuer(), Stamp(GREATER.public)
    reply = responder.reply(decode_initiation(stamp.initiation(BODY, NOW)), HERE, NOW)
    for forged in (
        CookieReply(reply.receiver, reply.nonce, bytes([reply.sealed[0] ^ 1]) + reply.sealed[1:]),
        CookieReply(reply.receiver, reply.nonce[::-1], reply.sealed),
    ):
        with pytest.raises(AuthenticationFailed):
            stamp.accept(forged, NOW)
    stamp.accept(reply, NOW)


def test_an_unasked_cookie_is_refused() -> None:
    with pytest.raises(AuthenticationFailed, match="nobody asked"):
        Stamp(GREATER.public).accept(CookieReply(SessionIndex(1), bytes(24), bytes(32)), NOW)
