"""Long-term credentials: client and server against each other, and against those who lie to either."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.errors import ConfigError
from p2ptun.stun.attribute import (
    ERROR_CODE,
    LIFETIME,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    USERHASH,
    USERNAME,
    AttributeValue,
)
from p2ptun.stun.codec import PasswordAlgorithm
from p2ptun.stun.credential import (
    NONCE_LIFETIME,
    OFFERED,
    Authenticated,
    Authentication,
    LongTermClient,
    LongTermCredential,
    LongTermServer,
    Refused,
    SecurityFeature,
    SignedRequest,
    StaticCredentials,
    Verdict,
    decode_features,
    encode_cookie,
)
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import (
    HMAC_SHA1,
    HMAC_SHA256,
    Integrity,
    KeyAlgorithm,
    long_term_key,
    userhash,
)
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.types import Endpoint
from tests.stun import vectors

NOW = 1000.0
NOTHING = SecurityFeature(0)
REALM_NAME = "example.org"
SOURCE = Endpoint.of("192.0.2.1", 5000)
REQUEST = Message(Method.ALLOCATE, MessageClass.REQUEST, TransactionId(b"t" * 12), ((LIFETIME, 600),))
SHA256, MD5 = OFFERED
KEY = long_term_key("alice", REALM_NAME, "secret", KeyAlgorithm.SHA256)
PLAIN_KEY = long_term_key("alice", REALM_NAME, "secret")


def server(secret: bytes = b"s", features: SecurityFeature = NOTHING) -> LongTermServer:
    store = StaticCredentials({"alice": "secret"}, REALM_NAME)
    return LongTermServer(REALM_NAME, store, secret, features)


def client(username: str = "alice", password: str = "secret") -> LongTermClient:  # noqa: S107 a made-up one
    return LongTermClient(LongTermCredential(username, password))


def received(signed: SignedRequest) -> Message:
    return decode_message(signed.encode())


def ask(to: LongTermServer, request: Message, now: float = NOW, source: Endpoint = SOURCE) -> Authentication:
    return to.authenticate(request, source, now)


def refusal(result: Authentication) -> Message:
    assert isinstance(result, Refused)
    return decode_message(encode_message(result.response))


def code_of(result: Authentication) -> int:
    error = refusal(result).get(ERROR_CODE)
    assert error is not None
    return error.code


def challenge(code: Code, *attributes: AttributeValue, request: Message = REQUEST) -> Message:
    return decode_message(encode_message(error_response(request, code, *attributes)))


def challenged(nonce: bytes = b"one", *attributes: AttributeValue) -> LongTermClient:
    """A client that has met one 401."""
    asker = client()
    response = challenge(Code.UNAUTHENTICATED, (REALM, REALM_NAME), (NONCE, nonce), *attributes)
    assert asker.judge(asker.sign(REQUEST), response) is Verdict.RETRY
    return asker


def signed_by(*attributes: AttributeValue, key: bytes = KEY, algorithm: object = HMAC_SHA256) -> Message:
    """A request sealed by hand."""
    message = replace(REQUEST, attributes=attributes)
    assert algorithm in (HMAC_SHA1, HMAC_SHA256)
    return decode_message(encode_message(message, Integrity(HMAC_SHA1 if algorithm is HMAC_SHA1 else HMAC_SHA256, key)))


def fresh_nonce(of: LongTermServer, source: Endpoint = SOURCE, now: float = NOW) -> bytes:
    nonce = refusal(of.authenticate(REQUEST, source, now)).get(NONCE)
    assert nonce is not None
    return nonce


# The nonce cookie


@pytest.mark.parametrize(
    ("features", "cookie"),
    [
        (SecurityFeature(0), b"obMatJos2AAAA"),
        (SecurityFeature.PASSWORD_ALGORITHMS, b"obMatJos2gAAA"),
        (SecurityFeature.USERNAME_ANONYMITY, b"obMatJos2QAAA"),
        (SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY, b"obMatJos2wAAA"),
    ],
)
def test_the_cookie(features: SecurityFeature, cookie: bytes) -> None:
    assert encode_cookie(features) == cookie
    assert decode_features(cookie + b"rest") == features


@pytest.mark.parametrize("nonce", [b"", b"obMatJos", b"obMatJos2", b"obMatJos2g", b"obMatJos2!!!!", b"xbMatJos2gAAA"])
def test_no_cookie_no_features(nonce: bytes) -> None:
    assert decode_features(nonce) == SecurityFeature(0)


def test_unknown_features_are_left_out() -> None:
    assert decode_features(b"obMatJos2////") == (
        SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY
    )


# Both together


@pytest.mark.parametrize("anonymity", [False, True])
def test_a_whole_exchange(anonymity: bool) -> None:
    features = SecurityFeature.USERNAME_ANONYMITY if anonymity else SecurityFeature(0)
    asked, asker = server(features=features), client()
    first = asker.sign(REQUEST)
    assert first == SignedRequest(REQUEST, None)
    result = ask(asked, received(first))
    assert code_of(result) == 401
    assert asker.judge(first, refusal(result)) is Verdict.RETRY
    assert asker.realm == REALM_NAME

    second = asker.sign(REQUEST)
    request = received(second)
    assert request.integrity is HMAC_SHA256
    assert request.get(LIFETIME) == 600
    assert request.get(PASSWORD_ALGORITHMS) == OFFERED
    assert request.get(PASSWORD_ALGORITHM) == SHA256
    assert request.get(USERNAME) == (None if anonymity else "alice")
    assert request.get(USERHASH) == (userhash("alice", REALM_NAME) if anonymity else None)
    result = ask(asked, request)
    assert result == Authenticated("alice", Integrity(HMAC_SHA256, KEY))

    answer = decode_message(encode_message(success_response(request), result.integrity))
    assert answer.integrity is HMAC_SHA256
    assert asker.judge(second, answer) is Verdict.ACCEPTED


def test_a_stale_nonce_is_renewed_for_every_request_in_flight() -> None:
    asked, asker = server(), client()
    first = asker.sign(REQUEST)
    asker.judge(first, refusal(ask(asked, received(first))))
    one, two = asker.sign(REQUEST), asker.sign(REQUEST)
    late = NOW + NONCE_LIFETIME + 1
    stale = ask(asked, received(one), late), ask(asked, received(two), late + 1)
    assert [code_of(result) for result in stale] == [438, 438]
    assert asker.judge(one, refusal(stale[0])) is Verdict.RETRY
    assert asker.judge(two, refusal(stale[1])) is Verdict.RETRY
    assert isinstance(ask(asked, received(asker.sign(REQUEST)), late + 2), Authenticated)


@pytest.mark.parametrize("code", [Code.UNAUTHENTICATED, Code.STALE_NONCE])
def test_many_requests_in_flight_are_no_loop(code: Code) -> None:
    asker = challenged(b"old")
    in_flight = [asker.sign(REQUEST) for _ in range(6)]
    for turn, signed in enumerate(in_flight):
        response = challenge(code, (REALM, REALM_NAME), (NONCE, b"%d" % turn))
        assert asker.judge(signed, response) is Verdict.RETRY
    assert asker.sign(REQUEST).message.get(NONCE) == b"0"


def test_a_restarted_server_is_met_again() -> None:
    asker = client()
    first = asker.sign(REQUEST)
    asker.judge(first, refusal(ask(server(b"old"), received(first))))
    second = asker.sign(REQUEST)
    result = ask(server(b"new"), received(second))
    assert code_of(result) == 438
    assert asker.judge(second, refusal(result)) is Verdict.RETRY
    assert isinstance(ask(server(b"new"), received(asker.sign(REQUEST))), Authenticated)


def test_a_wrong_password_ends_after_one_more_try() -> None:
    asked, asker = server(), client(password="wrong")  # noqa: S106 a made-up one
    verdicts = []
    for second in range(4):
        signed = asker.sign(REQUEST)
        verdicts.append(asker.judge(signed, refusal(ask(asked, received(signed), NOW + second))))
    assert verdicts == [Verdict.RETRY, Verdict.RETRY, Verdict.REJECTED, Verdict.REJECTED]


# The client


def test_an_old_server_gets_md5_and_sha1() -> None:
    asker = challenged(b"plain")
    signed = asker.sign(REQUEST)
    request = received(signed)
    assert request.integrity is HMAC_SHA1
    assert request.get(PASSWORD_ALGORITHM) is None
    assert request.get(PASSWORD_ALGORITHMS) is None
    answer = decode_message(encode_message(success_response(REQUEST), Integrity(HMAC_SHA1, PLAIN_KEY)))
    assert asker.judge(signed, answer) is Verdict.ACCEPTED


def test_the_first_algorithm_that_we_know_is_taken_and_the_offer_repeated() -> None:
    offered = (PasswordAlgorithm(9), PasswordAlgorithm(2, b"odd!"), MD5, SHA256)
    asker = challenged(encode_cookie(SecurityFeature.PASSWORD_ALGORITHMS), (PASSWORD_ALGORITHMS, offered))
    signed = asker.sign(REQUEST)
    assert signed.message.get(PASSWORD_ALGORITHMS) == offered
    assert signed.message.get(PASSWORD_ALGORITHM) == MD5
    assert signed.integrity == Integrity(HMAC_SHA256, PLAIN_KEY)


@pytest.mark.parametrize("offered", [(), (PasswordAlgorithm(9),)])
def test_no_algorithm_that_we_know(offered: tuple[PasswordAlgorithm, ...]) -> None:
    asker = client()
    attributes = ((REALM, REALM_NAME), (NONCE, b"n"), (PASSWORD_ALGORITHMS, offered))
    assert asker.judge(asker.sign(REQUEST), challenge(Code.UNAUTHENTICATED, *attributes)) is Verdict.REJECTED


def test_a_realm_that_cannot_be_hashed() -> None:
    asker = client()
    response = challenge(Code.UNAUTHENTICATED, (REALM, "a\x00"), (NONCE, b"n"))
    assert asker.judge(asker.sign(REQUEST), response) is Verdict.REJECTED


@pytest.mark.parametrize("code", [Code.UNAUTHENTICATED, Code.STALE_NONCE])
def test_a_challenge_without_its_algorithms_was_bid_down(code: Code) -> None:
    nonce = encode_cookie(SecurityFeature.PASSWORD_ALGORITHMS)
    asker = client()
    response = challenge(code, (REALM, REALM_NAME), (NONCE, nonce))
    assert asker.judge(asker.sign(REQUEST), response) is Verdict.DISCARDED
    assert asker.realm is None


def test_any_other_response_without_its_algorithms_is_ignored() -> None:
    asker = challenged()
    signed = asker.sign(REQUEST)
    nonce = encode_cookie(SecurityFeature.PASSWORD_ALGORITHMS)
    answer = encode_message(success_response(REQUEST, (NONCE, nonce)), signed.integrity)
    assert asker.judge(signed, decode_message(answer)) is Verdict.DISCARDED


@pytest.mark.parametrize("attributes", [(), ((REALM, REALM_NAME),), ((NONCE, b"n"),)])
def test_half_a_challenge_is_discarded(attributes: tuple[AttributeValue, ...]) -> None:
    asker = client()
    assert asker.judge(asker.sign(REQUEST), challenge(Code.UNAUTHENTICATED, *attributes)) is Verdict.DISCARDED


def test_a_stale_nonce_may_leave_the_realm_out() -> None:
    asker = challenged(b"one")
    assert asker.judge(asker.sign(REQUEST), challenge(Code.STALE_NONCE, (NONCE, b"two"))) is Verdict.RETRY
    assert asker.sign(REQUEST).message.get(NONCE) == b"two"
    assert asker.realm == REALM_NAME


@pytest.mark.parametrize("code", [Code.UNAUTHENTICATED, Code.STALE_NONCE])
def test_the_same_nonce_again_is_a_refusal(code: Code) -> None:
    asker = challenged(b"one")
    assert asker.judge(asker.sign(REQUEST), challenge(code, (REALM, REALM_NAME), (NONCE, b"one"))) is Verdict.REJECTED


@pytest.mark.parametrize(("code", "retries"), [(Code.UNAUTHENTICATED, 1), (Code.STALE_NONCE, 3)])
def test_new_nonces_without_end_are_a_refusal(code: Code, retries: int) -> None:
    asker = challenged(b"first")
    for turn in range(retries):
        response = challenge(code, (REALM, REALM_NAME), (NONCE, b"%d" % turn))
        assert asker.judge(asker.sign(REQUEST), response) is Verdict.RETRY
    response = challenge(code, (REALM, REALM_NAME), (NONCE, b"last"))
    assert asker.judge(asker.sign(REQUEST), response) is Verdict.REJECTED


def test_success_forgives_earlier_challenges() -> None:
    asker = challenged(b"first")
    for turn in range(5):
        response = challenge(Code.STALE_NONCE, (REALM, REALM_NAME), (NONCE, b"%d" % turn))
        assert asker.judge(asker.sign(REQUEST), response) is Verdict.RETRY
        signed = asker.sign(REQUEST)
        answer = decode_message(encode_message(success_response(REQUEST), signed.integrity))
        assert asker.judge(signed, answer) is Verdict.ACCEPTED


def test_unsigned_answers_to_signed_requests_are_violations() -> None:
    asker = challenged()
    signed = asker.sign(REQUEST)
    assert asker.judge(signed, decode_message(encode_message(success_response(REQUEST)))) is Verdict.VIOLATED
    assert asker.judge(signed, challenge(Code.ALLOCATION_MISMATCH)) is Verdict.VIOLATED
    forged = encode_message(success_response(REQUEST), Integrity(HMAC_SHA1, b"guess"))
    assert asker.judge(signed, decode_message(forged)) is Verdict.VIOLATED


def test_a_weaker_seal_in_the_answer_is_a_violation() -> None:
    asker = challenged(b"n", (PASSWORD_ALGORITHMS, OFFERED))
    signed = asker.sign(REQUEST)
    answer = encode_message(success_response(REQUEST), Integrity(HMAC_SHA1, KEY))
    assert asker.judge(signed, decode_message(answer)) is Verdict.VIOLATED


def test_an_unsigned_400_is_as_if_it_never_came() -> None:
    for asker in (client(), challenged()):
        assert asker.judge(asker.sign(REQUEST), challenge(Code.BAD_REQUEST)) is Verdict.DISCARDED
    asker = challenged()
    signed = asker.sign(REQUEST)
    response = encode_message(error_response(REQUEST, Code.BAD_REQUEST), signed.integrity)
    assert asker.judge(signed, decode_message(response)) is Verdict.ACCEPTED


def test_a_server_without_authentication_is_fine() -> None:
    asker = client()
    assert (
        asker.judge(asker.sign(REQUEST), decode_message(encode_message(success_response(REQUEST)))) is Verdict.ACCEPTED
    )


def test_passwords_stay_out_of_repr() -> None:
    assert "secret" not in repr(LongTermCredential("alice", "secret"))


# The server


def test_a_challenge_says_all_and_no_more() -> None:
    response = refusal(ask(server(), REQUEST))
    assert [attribute for attribute, _ in response.attributes] == [ERROR_CODE, REALM, NONCE, PASSWORD_ALGORITHMS]
    assert response.get(PASSWORD_ALGORITHMS) == OFFERED
    assert decode_features(response.get(NONCE) or b"") == SecurityFeature.PASSWORD_ALGORITHMS
    assert response.macs == ()


@pytest.mark.parametrize("missing", range(3))
def test_a_seal_without_what_it_needs_is_a_bad_request(missing: int) -> None:
    asked = server()
    parts: list[AttributeValue] = [(USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, fresh_nonce(asked))]
    del parts[missing]
    result = ask(asked, signed_by(*parts))
    assert code_of(result) == 400
    assert len(refusal(result).attributes) == 1


@pytest.mark.parametrize(
    "algorithms",
    [
        ((PASSWORD_ALGORITHM, SHA256),),
        ((PASSWORD_ALGORITHMS, OFFERED),),
        ((PASSWORD_ALGORITHMS, (MD5,)), (PASSWORD_ALGORITHM, MD5)),  # somebody made the offer shorter
        ((PASSWORD_ALGORITHMS, (MD5, SHA256)), (PASSWORD_ALGORITHM, MD5)),
        ((PASSWORD_ALGORITHMS, OFFERED), (PASSWORD_ALGORITHM, PasswordAlgorithm(9))),
    ],
)
def test_a_changed_offer_is_a_bad_request(algorithms: tuple[AttributeValue, ...]) -> None:
    asked = server()
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, fresh_nonce(asked)))
    assert code_of(ask(asked, signed_by(*identity, *algorithms))) == 400


def test_a_client_that_knows_no_algorithms_means_md5() -> None:
    asked = server()
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, fresh_nonce(asked)))
    result = ask(asked, signed_by(*identity, key=PLAIN_KEY, algorithm=HMAC_SHA1))
    assert result == Authenticated("alice", Integrity(HMAC_SHA1, PLAIN_KEY))


def test_md5_by_choice_is_still_sealed_by_sha256() -> None:
    asked = server()
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, fresh_nonce(asked)))
    chosen = ((PASSWORD_ALGORITHMS, OFFERED), (PASSWORD_ALGORITHM, MD5))
    result = ask(asked, signed_by(*identity, *chosen, key=PLAIN_KEY))
    assert result == Authenticated("alice", Integrity(HMAC_SHA256, PLAIN_KEY))


@pytest.mark.parametrize(
    "who",
    [(USERNAME, "bob"), (USERNAME, "al\x00ice"), (USERHASH, bytes(32)), (USERHASH, userhash("alice", "elsewhere"))],
)
def test_a_stranger_is_challenged(who: AttributeValue) -> None:
    asked = server()
    attributes = (who, (REALM, REALM_NAME), (NONCE, fresh_nonce(asked)))
    algorithms = ((PASSWORD_ALGORITHMS, OFFERED), (PASSWORD_ALGORITHM, SHA256))
    assert code_of(ask(asked, signed_by(*attributes, *algorithms))) == 401


def test_a_wrong_key_is_challenged() -> None:
    asked = server()
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, fresh_nonce(asked)))
    result = ask(asked, signed_by(*identity, key=b"guess"))
    assert code_of(result) == 401
    assert refusal(result).get(PASSWORD_ALGORITHMS) == OFFERED


@pytest.mark.parametrize(
    "nonce",
    [
        b"",
        b"made up",
        b"obMatJos2gAAA",
        b"obMatJos2gAAA!!!!",
        b"obMatJos2gAAA" + b"A" * 16,
        vectors.SHA256_REQUEST[60:101],
    ],
)
def test_a_nonce_that_is_not_ours_is_stale(nonce: bytes) -> None:
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, nonce))
    assert code_of(ask(server(), signed_by(*identity, key=PLAIN_KEY))) == 438


@pytest.mark.parametrize("other", [Endpoint.of("192.0.2.2", 5000), Endpoint.of("192.0.2.1", 5001)])
def test_a_nonce_belongs_to_one_client(other: Endpoint) -> None:
    asked = server()
    assert fresh_nonce(asked) != fresh_nonce(asked, other)
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, fresh_nonce(asked, other)))
    assert code_of(ask(asked, signed_by(*identity, key=PLAIN_KEY))) == 438


def test_a_nonce_lasts_as_long_as_it_is_said_to() -> None:
    asked = server()
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, fresh_nonce(asked)))
    request = signed_by(*identity, key=PLAIN_KEY)
    assert isinstance(ask(asked, request, NOW + NONCE_LIFETIME), Authenticated)
    assert code_of(ask(asked, request, NOW + NONCE_LIFETIME + 1)) == 438


def test_the_features_of_a_nonce_cannot_be_taken_out() -> None:
    asked = server()
    nonce = b"obMatJos2AAAA" + fresh_nonce(asked)[13:]
    identity = ((USERNAME, "alice"), (REALM, REALM_NAME), (NONCE, nonce))
    assert code_of(ask(asked, signed_by(*identity, key=PLAIN_KEY))) == 438


def test_a_realm_must_be_hashable() -> None:
    with pytest.raises(ConfigError, match="realm: is empty"):
        LongTermServer("", StaticCredentials({}, REALM_NAME), b"s")


def test_users_are_prepared() -> None:
    store = StaticCredentials({"a\u3000b": "p\u00a0w"}, REALM_NAME)
    assert store.find_password("a b") == "p w"
    assert store.find_username(userhash("a b", REALM_NAME)) == "a b"
    assert store.find_password("c") is None
    with pytest.raises(ConfigError):
        StaticCredentials({"": "x"}, REALM_NAME)
