"""Error codes, reasons and responses."""

from __future__ import annotations

import pytest

from p2ptun.stun.attribute import ERROR_CODE, REALM, UNKNOWN_ATTRIBUTES
from p2ptun.stun.codec import ErrorCode
from p2ptun.stun.error import Code, error_response, unknown_attribute_response
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message, encode_message

REQUEST = Message(Method.ALLOCATE, MessageClass.REQUEST, TransactionId(b"t" * 12))


def test_the_table() -> None:
    numbers = [300, 400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 487, 500, 508]
    assert [int(code) for code in Code] == numbers
    assert Code.ROLE_CONFLICT.reason == "Role Conflict"
    assert Code["STALE_NONCE"] == 438


@pytest.mark.parametrize("code", Code)
def test_every_code_makes_a_response(code: Code) -> None:
    response = decode_message(encode_message(error_response(REQUEST, code, (REALM, "r"))))
    assert response.message_class is MessageClass.ERROR
    assert (response.method, response.transaction_id) == (REQUEST.method, REQUEST.transaction_id)
    assert response.get(ERROR_CODE) == ErrorCode(code.value, code.reason)
    assert response.get(REALM) == "r"


def test_420_lists_what_is_unknown() -> None:
    response = decode_message(encode_message(unknown_attribute_response(REQUEST, (0x7FFE, 0x0002))))
    assert response.get(ERROR_CODE) == ErrorCode(420, "Unknown Attribute")
    assert response.get(UNKNOWN_ATTRIBUTES) == (0x7FFE, 0x0002)
