"""The one table of all attributes that STUN, ICE and TURN use (RFC 8489 18.3 and the registry it began).

An attribute is `number (2) | length (2) | value | padding to 4`. Numbers below 0x8000 are comprehension-required: who
doesn't know one may not go on; the others may be skipped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.stun.codec import (
    ADDRESS,
    ADDRESS_ERROR,
    ALGORITHM,
    ALGORITHMS,
    CHANGE,
    DOMAIN_LIMIT,
    ERROR,
    EVEN_PORT_BIT,
    FLAG,
    ICMP_ERROR,
    NUMBERS,
    PORT,
    TEXT_LIMIT,
    USERNAME_LIMIT,
    XOR_ADDRESS,
    Codec,
    V,
    integer,
    label,
    opaque,
    text,
)


@dataclass(frozen=True, slots=True, eq=False)
class Attribute(Generic[V]):
    """An attribute's number, its name in the RFC, and how its value lies in bytes. Compared by identity."""

    number: int
    name: str
    codec: Codec[V]

    @property
    def is_required(self) -> bool:
        """Tell whether a receiver that doesn't know it must refuse the message (RFC 8489 14)."""
        return is_required(self.number)

    def encode(self, value: V, transaction_id: bytes) -> bytes:
        """Lay our own value into bytes, without header and padding.

        Raises:
            LocalProtocolError: the attribute can't carry this value.
        """
        try:
            return self.codec.encode(value, transaction_id)
        except (ValueError, struct.error) as error:
            raise LocalProtocolError(f"{self.name} can't carry this value: {error}") from error

    def decode(self, data: bytes, transaction_id: bytes) -> V:
        """Read an untrusted value, without header and padding.

        Raises:
            MalformedPacket: these bytes are no such value.
        """
        try:
            return self.codec.decode(data, transaction_id)
        except (ValueError, struct.error) as error:
            raise MalformedPacket(f"{self.name}: {error}") from error

    def __repr__(self) -> str:
        return self.name


AttributeValue: TypeAlias = tuple[Attribute[Any], Any]
"""An attribute with the value that it carries in one message."""

ATTRIBUTES: Final[dict[int, Attribute[Any]]] = {}
"""Every attribute by its number. What isn't in here is unknown to us."""


def is_required(number: int) -> bool:
    """Tell whether the attribute of this number is comprehension-required."""
    return number < 0x8000


def _define(number: int, name: str, codec: Codec[V]) -> Attribute[V]:
    attribute = Attribute(number, name, codec)
    ATTRIBUTES[number] = attribute
    return attribute


_ANY_LENGTH: Final = opaque(0, 0xFFFF)

# RFC 8489: STUN.
MAPPED_ADDRESS: Final = _define(0x0001, "MAPPED-ADDRESS", ADDRESS)
USERNAME: Final = _define(0x0006, "USERNAME", text(USERNAME_LIMIT))
MESSAGE_INTEGRITY: Final = _define(0x0008, "MESSAGE-INTEGRITY", opaque(20, 20))
ERROR_CODE: Final = _define(0x0009, "ERROR-CODE", ERROR)
UNKNOWN_ATTRIBUTES: Final = _define(0x000A, "UNKNOWN-ATTRIBUTES", NUMBERS)
REALM: Final = _define(0x0014, "REALM", text(TEXT_LIMIT))
NONCE: Final = _define(0x0015, "NONCE", opaque(0, TEXT_LIMIT))
MESSAGE_INTEGRITY_SHA256: Final = _define(0x001C, "MESSAGE-INTEGRITY-SHA256", opaque(16, 32, step=4))
PASSWORD_ALGORITHM: Final = _define(0x001D, "PASSWORD-ALGORITHM", ALGORITHM)
USERHASH: Final = _define(0x001E, "USERHASH", opaque(32, 32))
XOR_MAPPED_ADDRESS: Final = _define(0x0020, "XOR-MAPPED-ADDRESS", XOR_ADDRESS)
PASSWORD_ALGORITHMS: Final = _define(0x8002, "PASSWORD-ALGORITHMS", ALGORITHMS)
ALTERNATE_DOMAIN: Final = _define(0x8003, "ALTERNATE-DOMAIN", text(DOMAIN_LIMIT))
SOFTWARE: Final = _define(0x8022, "SOFTWARE", label(TEXT_LIMIT))
ALTERNATE_SERVER: Final = _define(0x8023, "ALTERNATE-SERVER", ADDRESS)
FINGERPRINT: Final = _define(0x8028, "FINGERPRINT", integer(">I"))

# RFC 8445: ICE.
PRIORITY: Final = _define(0x0024, "PRIORITY", integer(">I"))
USE_CANDIDATE: Final = _define(0x0025, "USE-CANDIDATE", FLAG)
ICE_CONTROLLED: Final = _define(0x8029, "ICE-CONTROLLED", integer(">Q"))
ICE_CONTROLLING: Final = _define(0x802A, "ICE-CONTROLLING", integer(">Q"))
NOMINATION: Final = _define(0xC001, "NOMINATION", integer(">I"))  # draft-thatcher-ice-renomination-01 4.1

# RFC 8656: TURN. Families and protocols stay numbers: a server answers 440 or 442 to those that it doesn't know.
CHANNEL_NUMBER: Final = _define(0x000C, "CHANNEL-NUMBER", integer(">Hxx"))
LIFETIME: Final = _define(0x000D, "LIFETIME", integer(">I"))  # seconds
XOR_PEER_ADDRESS: Final = _define(0x0012, "XOR-PEER-ADDRESS", XOR_ADDRESS)
DATA: Final = _define(0x0013, "DATA", _ANY_LENGTH)
XOR_RELAYED_ADDRESS: Final = _define(0x0016, "XOR-RELAYED-ADDRESS", XOR_ADDRESS)
REQUESTED_ADDRESS_FAMILY: Final = _define(0x0017, "REQUESTED-ADDRESS-FAMILY", integer(">Bxxx"))
EVEN_PORT: Final = _define(0x0018, "EVEN-PORT", EVEN_PORT_BIT)
REQUESTED_TRANSPORT: Final = _define(0x0019, "REQUESTED-TRANSPORT", integer(">Bxxx"))  # IP protocol number
DONT_FRAGMENT: Final = _define(0x001A, "DONT-FRAGMENT", FLAG)
RESERVATION_TOKEN: Final = _define(0x0022, "RESERVATION-TOKEN", opaque(8, 8))
ADDITIONAL_ADDRESS_FAMILY: Final = _define(0x8000, "ADDITIONAL-ADDRESS-FAMILY", integer(">Bxxx"))
ADDRESS_ERROR_CODE: Final = _define(0x8001, "ADDRESS-ERROR-CODE", ADDRESS_ERROR)
ICMP: Final = _define(0x8004, "ICMP", ICMP_ERROR)

# RFC 5780: NAT behaviour discovery.
CHANGE_REQUEST: Final = _define(0x0003, "CHANGE-REQUEST", CHANGE)
PADDING: Final = _define(0x0026, "PADDING", _ANY_LENGTH)
RESPONSE_PORT: Final = _define(0x0027, "RESPONSE-PORT", PORT)
CACHE_TIMEOUT: Final = _define(0x8027, "CACHE-TIMEOUT", integer(">I"))  # seconds
RESPONSE_ORIGIN: Final = _define(0x802B, "RESPONSE-ORIGIN", ADDRESS)
OTHER_ADDRESS: Final = _define(0x802C, "OTHER-ADDRESS", ADDRESS)
