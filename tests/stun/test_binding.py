"""The Binding usage from both ends."""

from __future__ import annotations

import pytest

from p2ptun.stun.attribute import (
    ALTERNATE_DOMAIN,
    ALTERNATE_SERVER,
    CHANGE_REQUEST,
    MAPPED_ADDRESS,
    PADDING,
    PRIORITY,
    RESPONSE_PORT,
    SOFTWARE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.binding import (
    BindingResult,
    Redirected,
    Reflexive,
    Rejected,
    Unusable,
    answer_binding,
    binding_request,
    read_binding_response,
)
from p2ptun.stun.codec import Change
from p2ptun.stun.error import Code, error_response, unknown_attribute_response
from p2ptun.stun.integrity import HMAC_SHA1, Integrity
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

TRANSACTION_ID = TransactionId(b"t" * 12)
REQUEST = binding_request(TRANSACTION_ID)
HERE, THERE = Endpoint.of("192.0.2.1", 5000), Endpoint.of("198.51.100.1", 3478)


def read(message: Message) -> BindingResult:
    return read_binding_response(decode_message(encode_message(message)))


def answered(*attributes: AttributeValue, source: Endpoint = HERE) -> Message:
    data = answer_binding(encode_message(binding_request(TRANSACTION_ID, *attributes)), source)
    assert data is not None
    return decode_message(data)


@pytest.mark.parametrize("source", [HERE, Endpoint.of("2001:db8::7", 5000)])
def test_asking_and_answering(source: Endpoint) -> None:
    response = answered(source=source)
    assert response.transaction_id == TRANSACTION_ID
    assert read_binding_response(response) == Reflexive(source)


def test_the_masked_address_goes_before_the_plain_one() -> None:
    """A NAT that rewrites addresses in packets reaches MAPPED-ADDRESS only."""
    plain, masked = (MAPPED_ADDRESS, THERE), (XOR_MAPPED_ADDRESS, HERE)
    assert read(success_response(REQUEST, plain, masked)) == Reflexive(HERE)
    assert read(success_response(REQUEST, plain)) == Reflexive(THERE)


def test_published_responses() -> None:
    assert read_binding_response(decode_message(vectors.RESPONSE_IPV4)) == Reflexive(Endpoint.of("192.0.2.1", 32853))


def test_errors_are_typed() -> None:
    assert read(error_response(REQUEST, Code.SERVER_ERROR)) == Rejected(500, "Server Error")
    assert read(unknown_attribute_response(REQUEST, (0x24, 0x7FFE))) == Rejected(
        420, "Unknown Attribute", (0x24, 0x7FFE)
    )
    moved = error_response(REQUEST, Code.TRY_ALTERNATE, (ALTERNATE_SERVER, THERE))
    assert read(moved) == Redirected(THERE, None)
    named = error_response(REQUEST, Code.TRY_ALTERNATE, (ALTERNATE_SERVER, THERE), (ALTERNATE_DOMAIN, "example.net"))
    assert read(named) == Redirected(THERE, "example.net")
    assert read(error_response(REQUEST, Code.TRY_ALTERNATE)) == Rejected(300, "Try Alternate")
    assert read(error_response(REQUEST, Code.FORBIDDEN, (ALTERNATE_SERVER, THERE))) == Rejected(403, "Forbidden")


def test_responses_that_say_nothing_are_unusable() -> None:
    assert read(success_response(REQUEST)) == Unusable("a success without an address")
    error = Message(Method.BINDING, MessageClass.ERROR, TRANSACTION_ID)
    assert read(error) == Unusable("an error without ERROR-CODE")
    assert read(REQUEST) == Unusable("not a Binding response")
    other = Message(Method.ALLOCATE, MessageClass.SUCCESS, TRANSACTION_ID)
    assert read(other) == Unusable("not a Binding response")


def test_a_response_with_unknown_required_attributes_fails() -> None:
    data = encode_message(success_response(REQUEST, (XOR_MAPPED_ADDRESS, HERE)), fingerprint=False)
    longer = data[:2] + (len(data) - 20 + 4).to_bytes(2, "big") + data[4:] + bytes.fromhex("7ffe0000")
    assert read_binding_response(decode_message(longer)) == Unusable("attributes that we don't know: 0x7FFE")


def test_the_server_adds_what_it_is_told_to() -> None:
    data = answer_binding(encode_message(REQUEST), HERE, (SOFTWARE, "p2ptun"))
    assert data is not None
    assert decode_message(data).get(SOFTWARE) == "p2ptun"


@pytest.mark.parametrize("fingerprint", [False, True])
def test_a_fingerprint_is_returned(fingerprint: bool) -> None:
    data = answer_binding(encode_message(REQUEST, fingerprint=fingerprint), HERE)
    assert data is not None
    assert decode_message(data).has_fingerprint is fingerprint


def test_what_the_server_does_not_follow_gets_420() -> None:
    result = read_binding_response(answered((CHANGE_REQUEST, Change.PORT), (PADDING, b""), (RESPONSE_PORT, 1)))
    assert result == Rejected(420, "Unknown Attribute", (0x0003, 0x0026, 0x0027))
    data = encode_message(binding_request(TRANSACTION_ID, (CHANGE_REQUEST, Change.PORT)), fingerprint=False)
    longer = data[:2] + (len(data) - 20 + 8).to_bytes(2, "big") + data[4:] + bytes.fromhex("7ffe0000" * 2)
    response = answer_binding(longer, HERE)
    assert response is not None
    assert read_binding_response(decode_message(response)) == Rejected(420, "Unknown Attribute", (0x7FFE, 0x0003))


def test_credentials_that_nobody_asked_for_are_ignored() -> None:
    request = binding_request(TRANSACTION_ID, (USERNAME, "a:b"), (PRIORITY, 1))
    data = answer_binding(encode_message(request, Integrity(HMAC_SHA1, b"k")), HERE)
    assert data is not None
    response = decode_message(data)
    assert response.macs == ()
    assert read_binding_response(response) == Reflexive(HERE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xd4" * 40,
        encode_message(REQUEST)[:-1],
        encode_message(Message(Method.BINDING, MessageClass.INDICATION, TRANSACTION_ID)),
        encode_message(Message(Method.ALLOCATE, MessageClass.REQUEST, TRANSACTION_ID)),
        encode_message(success_response(REQUEST)),
    ],
)
def test_what_is_no_request_is_not_answered(data: bytes) -> None:
    assert answer_binding(data, HERE) is None
