"""The attribute table: numbers, names, and how values that don't fit are refused."""

from __future__ import annotations

import pytest

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.stun import attribute
from p2ptun.stun.attribute import (
    ATTRIBUTES,
    FINGERPRINT,
    ICE_CONTROLLING,
    LIFETIME,
    PRIORITY,
    USERNAME,
    Attribute,
    is_required,
)

TRANSACTION_ID = bytes(range(12))


def test_the_table_is_complete_and_named_as_in_the_rfcs() -> None:
    constants = {name: value for name, value in vars(attribute).items() if isinstance(value, Attribute)}
    assert len(constants) == len(ATTRIBUTES) == 40
    for name, value in constants.items():
        assert value.name == name.replace("_", "-")
        assert ATTRIBUTES[value.number] is value
        assert repr(value) == value.name


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0x0001, "MAPPED-ADDRESS"),
        (0x0003, "CHANGE-REQUEST"),
        (0x0006, "USERNAME"),
        (0x0008, "MESSAGE-INTEGRITY"),
        (0x0009, "ERROR-CODE"),
        (0x000A, "UNKNOWN-ATTRIBUTES"),
        (0x000C, "CHANNEL-NUMBER"),
        (0x000D, "LIFETIME"),
        (0x0012, "XOR-PEER-ADDRESS"),
        (0x0013, "DATA"),
        (0x0014, "REALM"),
        (0x0015, "NONCE"),
        (0x0016, "XOR-RELAYED-ADDRESS"),
        (0x0017, "REQUESTED-ADDRESS-FAMILY"),
        (0x0018, "EVEN-PORT"),
        (0x0019, "REQUESTED-TRANSPORT"),
        (0x001A, "DONT-FRAGMENT"),
        (0x001C, "MESSAGE-INTEGRITY-SHA256"),
        (0x001D, "PASSWORD-ALGORITHM"),
        (0x001E, "USERHASH"),
        (0x0020, "XOR-MAPPED-ADDRESS"),
        (0x0022, "RESERVATION-TOKEN"),
        (0x0024, "PRIORITY"),
        (0x0025, "USE-CANDIDATE"),
        (0x0026, "PADDING"),
        (0x0027, "RESPONSE-PORT"),
        (0x8000, "ADDITIONAL-ADDRESS-FAMILY"),
        (0x8001, "ADDRESS-ERROR-CODE"),
        (0x8002, "PASSWORD-ALGORITHMS"),
        (0x8003, "ALTERNATE-DOMAIN"),
        (0x8004, "ICMP"),
        (0x8022, "SOFTWARE"),
        (0x8023, "ALTERNATE-SERVER"),
        (0x8027, "CACHE-TIMEOUT"),
        (0x8028, "FINGERPRINT"),
        (0x8029, "ICE-CONTROLLED"),
        (0x802A, "ICE-CONTROLLING"),
        (0xC001, "NOMINATION"),
        (0x802B, "RESPONSE-ORIGIN"),
        (0x802C, "OTHER-ADDRESS"),
    ],
)
def test_numbers_are_those_of_the_registry(number: int, name: str) -> None:
    assert ATTRIBUTES[number].name == name
    assert ATTRIBUTES[number].is_required is (number < 0x8000)


def test_required_is_the_lower_half() -> None:
    assert is_required(0x7FFF)
    assert not is_required(0x8000)
    assert not FINGERPRINT.is_required


def test_a_value_that_cannot_be_carried_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError, match="PRIORITY can't carry"):
        PRIORITY.encode(1 << 32, TRANSACTION_ID)
    with pytest.raises(LocalProtocolError, match="USERNAME can't carry this value: 509 bytes, at most 508"):
        USERNAME.encode("a" * 509, TRANSACTION_ID)


def test_a_value_that_cannot_be_read_is_malformed() -> None:
    with pytest.raises(MalformedPacket, match="LIFETIME"):
        LIFETIME.decode(b"\0\0\0", TRANSACTION_ID)
    with pytest.raises(MalformedPacket, match="USERNAME"):
        USERNAME.decode(b"\xff", TRANSACTION_ID)


def test_integers_keep_their_width() -> None:
    assert ICE_CONTROLLING.encode(1, TRANSACTION_ID) == bytes(7) + b"\1"
    assert ICE_CONTROLLING.decode(b"\xff" * 8, TRANSACTION_ID) == (1 << 64) - 1
