from __future__ import annotations

import pytest

from p2ptun.ice.check import (
    InboundCheck,
    Refusal,
    encode_check,
    encode_role_conflict,
    encode_success,
    is_authentic_answer,
    read_binding,
    read_check,
)
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import DropReason
from p2ptun.ice.role import Role, Stance
from p2ptun.stun.attribute import (
    ERROR_CODE,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    UNKNOWN_ATTRIBUTES,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.integrity import (
    HMAC_SHA1,
    HMAC_SHA256,
    Integrity,
    IntegrityAlgorithm,
    has_integrity,
    short_term_key,
)
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message, encode_message
from tests.sim.network import at

from .material import with_unknown

OURS = Credentials("ours", "o" * 22)
THEIRS = Credentials("theirs", "t" * 22)
ID = TransactionId(b"transaction!")
KEY = Integrity(HMAC_SHA1, short_term_key(OURS.password))
WELL: tuple[AttributeValue, ...] = ((USERNAME, "ours:theirs"), (PRIORITY, 5), (ICE_CONTROLLING, 9))


def build(*attributes: AttributeValue, integrity: Integrity | None = KEY, fingerprint: bool = True) -> Message:
    """Build a request to us as it arrives."""
    message = Message(Method.BINDING, MessageClass.REQUEST, ID, attributes)
    return decode_message(encode_message(message, integrity, fingerprint))


def error_of(refusal: InboundCheck | Refusal) -> tuple[int, Message]:
    assert isinstance(refusal, Refusal)
    assert refusal.answer is not None
    answer = decode_message(refusal.answer)
    error = answer.get(ERROR_CODE)
    assert error is not None
    return error.code, answer


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("nominate", [False, True])
def test_what_one_side_builds_the_other_reads(role: Role, nominate: bool) -> None:
    data = encode_check(ID, THEIRS, OURS, Stance(role, 2**64 - 1), 77, 0 if nominate else None)
    request = read_binding(data)
    assert isinstance(request, Message)
    assert read_check(request, OURS) == InboundCheck(77, role, 2**64 - 1, nominate, "theirs")
    assert request.get(ICE_CONTROLLING if role is Role.CONTROLLED else ICE_CONTROLLED) is None


def test_request_without_a_role_or_use_candidate_is_read() -> None:
    check = read_check(build((USERNAME, "ours:theirs"), (PRIORITY, 5)), OURS)
    assert check == InboundCheck(5, None, 0, False, "theirs")
    nominating = read_check(build(*WELL, (USE_CANDIDATE, True)), OURS)
    assert isinstance(nominating, InboundCheck)
    assert nominating.use_candidate


def test_request_without_fingerprint_is_no_check() -> None:
    assert read_check(build(*WELL, fingerprint=False), OURS) == Refusal(DropReason.NO_FINGERPRINT, None)


@pytest.mark.parametrize("request_", [build(*WELL, integrity=None), build(*WELL[1:])])
def test_pitfall_2_request_without_integrity_or_user_gets_400(request_: Message) -> None:
    code, answer = error_of(read_check(request_, OURS))
    assert code == 400
    assert not has_integrity(answer)


def test_wrong_user_or_password_gets_401() -> None:
    wrong = Integrity(HMAC_SHA1, short_term_key(THEIRS.password))
    for request in (build((USERNAME, "other:theirs"), *WELL[1:]), build(*WELL, integrity=wrong)):
        code, answer = error_of(read_check(request, OURS))
        assert code == 401
        assert not has_integrity(answer)


def test_unsigned_answers_are_never_longer_than_their_request() -> None:
    assert read_check(build(integrity=None), OURS) == Refusal(DropReason.BAD_REQUEST, None)
    assert read_check(build((USERNAME, "a:b")), OURS) != Refusal(DropReason.UNAUTHENTICATED, None)
    refusal = read_check(build(*WELL, integrity=None), OURS)
    assert isinstance(refusal, Refusal)
    assert refusal.answer is not None
    assert len(refusal.answer) <= len(build(*WELL, integrity=None).raw)


def test_pitfall_4_unknown_required_attribute_gets_420_but_only_after_authentication() -> None:
    request = with_unknown(build(*WELL), KEY.key)
    code, answer = error_of(read_check(request, OURS))
    assert code == 420
    assert answer.get(UNKNOWN_ATTRIBUTES) == (0x0077,)
    assert is_authentic_answer(answer, OURS)
    code, answer = error_of(read_check(request, Credentials("ours", "x" * 22)))
    assert code == 401


def test_request_without_priority_gets_a_signed_400() -> None:
    code, answer = error_of(read_check(build((USERNAME, "ours:theirs")), OURS))
    assert code == 400
    assert is_authentic_answer(answer, OURS)


@pytest.mark.parametrize("algorithm", [HMAC_SHA1, HMAC_SHA256, HMAC_SHA1 | HMAC_SHA256])
def test_pitfall_2_answers_carry_the_seal_of_the_receiver_in_the_request_s_algorithm(
    algorithm: IntegrityAlgorithm,
) -> None:
    request = build(*WELL, integrity=Integrity(algorithm, KEY.key))
    success = decode_message(encode_success(request, OURS, at("192.0.2.7:7")))
    conflict = decode_message(encode_role_conflict(request, OURS))
    assert success.get(XOR_MAPPED_ADDRESS) == at("192.0.2.7:7")
    error = conflict.get(ERROR_CODE)
    assert error is not None
    assert error.code == 487
    for answer in (success, conflict):
        assert is_authentic_answer(answer, OURS)
        assert not is_authentic_answer(answer, THEIRS)
        assert answer.integrity is (HMAC_SHA1 if algorithm is HMAC_SHA1 else HMAC_SHA256)


def test_pitfall_21_ipv6_is_masked_with_the_transaction_of_its_message() -> None:
    other = Message(Method.BINDING, MessageClass.REQUEST, TransactionId(b"another one!"), WELL)
    seen = at("[2001:db8::7]:7")
    first = encode_success(build(*WELL), OURS, seen)
    second = encode_success(decode_message(encode_message(other, KEY)), OURS, seen)
    assert first[20:44] != second[20:44]
    assert decode_message(first).get(XOR_MAPPED_ADDRESS) == decode_message(second).get(XOR_MAPPED_ADDRESS) == seen


def test_what_is_no_binding_is_sorted_out() -> None:
    allocate = encode_message(Message(Method.ALLOCATE, MessageClass.REQUEST, ID))
    indication = encode_message(Message(Method.BINDING, MessageClass.INDICATION, ID))
    broken = bytearray(encode_message(Message(Method.BINDING, MessageClass.REQUEST, ID)))
    broken[-1] ^= 1
    assert read_binding(b"\xd4data") is DropReason.NOT_STUN
    assert read_binding(bytes(broken)) is DropReason.MALFORMED
    assert read_binding(allocate) is DropReason.NOT_BINDING
    assert read_binding(indication) is DropReason.INDICATION
