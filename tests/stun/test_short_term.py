"""Short-term credentials: both seals at first, one from then on."""

from __future__ import annotations

import pytest

from p2ptun.errors import ConfigError
from p2ptun.stun.attribute import ERROR_CODE, USERNAME, AttributeValue
from p2ptun.stun.credential import Authenticated, Refused, SignedRequest, Verdict
from p2ptun.stun.integrity import HMAC_SHA1, HMAC_SHA256, Integrity, IntegrityAlgorithm
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.stun.short_term import ShortTermClient, authenticate_short_term

REQUEST = Message(Method.BINDING, MessageClass.REQUEST, TransactionId(b"t" * 12))
INDICATION = Message(Method.BINDING, MessageClass.INDICATION, TransactionId(b"t" * 12))
PASSWORDS = {"alice": "secret"}
ALICE: AttributeValue = (USERNAME, "alice")


def sealed(message: Message, *attributes: AttributeValue, key: bytes = b"secret") -> Message:
    whole = Message(message.method, message.message_class, message.transaction_id, attributes)
    return decode_message(encode_message(whole, Integrity(HMAC_SHA1, key)))


def answer(algorithm: IntegrityAlgorithm, key: bytes = b"secret") -> Message:
    return decode_message(encode_message(success_response(REQUEST), Integrity(algorithm, key)))


def test_a_whole_exchange_settles_on_sha256() -> None:
    client = ShortTermClient("alice", "secret")
    signed = client.sign(REQUEST)
    request = decode_message(signed.encode())
    assert request.get(USERNAME) == "alice"
    assert request.integrity == HMAC_SHA1 | HMAC_SHA256
    result = authenticate_short_term(request, PASSWORDS.get)
    assert result == Authenticated("alice", Integrity(HMAC_SHA256, b"secret"))
    response = decode_message(encode_message(success_response(request), result.integrity))
    assert response.integrity is HMAC_SHA256
    assert client.judge(signed, response) is Verdict.ACCEPTED
    assert decode_message(client.sign(REQUEST).encode()).integrity is HMAC_SHA256


def test_an_old_server_settles_on_sha1_and_stays_there() -> None:
    client = ShortTermClient("alice", "secret")
    assert client.judge(client.sign(REQUEST), answer(HMAC_SHA1)) is Verdict.ACCEPTED
    signed = client.sign(REQUEST)
    assert decode_message(signed.encode()).integrity is HMAC_SHA1
    assert client.judge(signed, answer(HMAC_SHA256)) is Verdict.VIOLATED
    assert client.judge(signed, answer(HMAC_SHA1 | HMAC_SHA256)) is Verdict.ACCEPTED
    assert decode_message(client.sign(REQUEST).encode()).integrity is HMAC_SHA1


@pytest.mark.parametrize(
    "response", [answer(HMAC_SHA1, b"guess"), decode_message(encode_message(success_response(REQUEST)))]
)
def test_a_forged_answer_settles_nothing(response: Message) -> None:
    client = ShortTermClient("alice", "secret")
    assert client.judge(client.sign(REQUEST), response) is Verdict.VIOLATED
    assert decode_message(client.sign(REQUEST).encode()).integrity == HMAC_SHA1 | HMAC_SHA256


def test_a_request_that_is_not_sealed_is_judged_by_the_credential() -> None:
    client = ShortTermClient("alice", "secret")
    assert client.judge(SignedRequest(REQUEST, None), answer(HMAC_SHA1)) is Verdict.ACCEPTED


def test_credentials_are_checked() -> None:
    for username, password in (("", "secret"), ("alice", "")):
        with pytest.raises(ConfigError):
            ShortTermClient(username, password)


def test_sha1_alone_is_answered_with_sha1() -> None:
    result = authenticate_short_term(sealed(REQUEST, ALICE), PASSWORDS.get)
    assert result == Authenticated("alice", Integrity(HMAC_SHA1, b"secret"))
    assert isinstance(authenticate_short_term(sealed(INDICATION, ALICE), PASSWORDS.get), Authenticated)


@pytest.mark.parametrize(
    ("attributes", "key", "code"),
    [((), b"secret", 400), (((USERNAME, "bob"),), b"secret", 401), ((ALICE,), b"guess", 401)],
)
def test_refusals(attributes: tuple[AttributeValue, ...], key: bytes, code: int) -> None:
    result = authenticate_short_term(sealed(REQUEST, *attributes, key=key), PASSWORDS.get)
    assert isinstance(result, Refused)
    error = result.response.get(ERROR_CODE)
    assert error is not None
    assert error.code == code
    assert len(result.response.attributes) == 1
    assert authenticate_short_term(sealed(INDICATION, *attributes, key=key), PASSWORDS.get) is None


def test_without_a_seal_it_is_a_bad_request() -> None:
    bare = Message(Method.BINDING, MessageClass.REQUEST, REQUEST.transaction_id, (ALICE,))
    result = authenticate_short_term(decode_message(encode_message(bare)), PASSWORDS.get)
    assert isinstance(result, Refused)
    assert result.response.attributes[0][1].code == 400
