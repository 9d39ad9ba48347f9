"""Messages of ours are read by aioice, and messages of aioice's by us."""

from __future__ import annotations

from typing import Any

import pytest
from aioice import stun as aioice

from p2ptun.stun import attribute
from p2ptun.stun.attribute import AttributeValue
from p2ptun.stun.codec import ErrorCode
from p2ptun.stun.integrity import HMAC_SHA1, Integrity, verify_integrity
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message, encode_message
from p2ptun.types import Endpoint

KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
SEAL_LENGTH, FINGERPRINT_LENGTH = 24, 8
TRANSACTION_ID = TransactionId(bytes(range(12)))
V4, V6 = ("192.0.2.1", 32853), ("2001:db8::7", 32853)

EVERY_CASE: list[tuple[AttributeValue, Any]] = [
    ((attribute.USERNAME, "evtj:h6vY"), "evtj:h6vY"),
    ((attribute.PRIORITY, 0x6E0001FF), 0x6E0001FF),
    ((attribute.USE_CANDIDATE, True), None),
    ((attribute.ICE_CONTROLLED, 2**64 - 1), 2**64 - 1),
    ((attribute.ICE_CONTROLLING, 1), 1),
    ((attribute.ERROR_CODE, ErrorCode(487, "Role Conflict")), (487, "Role Conflict")),
    ((attribute.MAPPED_ADDRESS, Endpoint.of(*V4)), V4),
    ((attribute.XOR_MAPPED_ADDRESS, Endpoint.of(*V4)), V4),
    ((attribute.XOR_MAPPED_ADDRESS, Endpoint.of(*V6)), V6),
    ((attribute.XOR_RELAYED_ADDRESS, Endpoint.of(*V6)), V6),
    ((attribute.XOR_PEER_ADDRESS, Endpoint.of(*V4)), V4),
    ((attribute.OTHER_ADDRESS, Endpoint.of(*V4)), V4),
    ((attribute.REALM, "example.org"), "example.org"),
    ((attribute.NONCE, b"f//499k954d6OL34oL9FSTvy64sA"), b"f//499k954d6OL34oL9FSTvy64sA"),
    ((attribute.CHANNEL_NUMBER, 0x4000), 0x4000),
    ((attribute.LIFETIME, 600), 600),
    ((attribute.DATA, b"\0\1\2"), b"\0\1\2"),
    ((attribute.SOFTWARE, "p2ptun"), "p2ptun"),
]

# The versions for older Pythons know fewer attributes.
CASES = [case for case in EVERY_CASE if case[0][0].name in aioice.ATTRIBUTES_BY_NAME]

CLASSES = {
    MessageClass.REQUEST: aioice.Class.REQUEST,
    MessageClass.INDICATION: aioice.Class.INDICATION,
    MessageClass.SUCCESS: aioice.Class.RESPONSE,
    MessageClass.ERROR: aioice.Class.ERROR,
}


def test_every_version_knows_what_ice_needs() -> None:
    names = {case[0][0].name for case in CASES}
    assert {"USERNAME", "PRIORITY", "USE-CANDIDATE", "ICE-CONTROLLED", "ICE-CONTROLLING", "XOR-MAPPED-ADDRESS"} < names


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_ours_is_read_by_aioice(ours: AttributeValue, theirs: object) -> None:
    message = Message(Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID, (ours,))
    data = encode_message(message, Integrity(HMAC_SHA1, KEY))
    read = aioice.parse_message(data)
    assert read.transaction_id == TRANSACTION_ID
    assert read.attributes[ours[0].name] == theirs
    assert list(read.attributes) == [ours[0].name, "MESSAGE-INTEGRITY", "FINGERPRINT"]
    sealed = data[: -SEAL_LENGTH - FINGERPRINT_LENGTH]
    assert read.attributes["MESSAGE-INTEGRITY"] == aioice.message_integrity(sealed, KEY)


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_aioices_is_read_by_us(ours: AttributeValue, theirs: object) -> None:
    written = aioice.Message(aioice.Method.BINDING, aioice.Class.REQUEST, TRANSACTION_ID, {ours[0].name: theirs})
    written.add_message_integrity(KEY)
    message = decode_message(bytes(written))
    assert message.attributes == (ours,)
    assert message.has_fingerprint
    assert verify_integrity(message, KEY)
    assert not verify_integrity(message, KEY + b"x")


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("message_class", MessageClass)
def test_types_agree(method: Method, message_class: MessageClass) -> None:
    message = Message(method, message_class, TRANSACTION_ID)
    read = aioice.parse_message(encode_message(message))
    assert read.message_method == method.value
    assert read.message_class == CLASSES[message_class]
    assert decode_message(bytes(read)) == message


def test_aioice_notices_a_changed_byte() -> None:
    data = encode_message(Message(Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID), Integrity(HMAC_SHA1, KEY))
    with pytest.raises(ValueError, match="fingerprint"):
        aioice.parse_message(data[:19] + b"x" + data[20:])
