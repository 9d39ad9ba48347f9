"""STUN messages (RFC 8489 5) and their framing.

::

     0                   1                   2                   3
    |0 0| method and class, mixed   |   length of what follows the header |
    |                    magic cookie 0x2112A442                          |
    |                    transaction ID (12 bytes)                        |
    | attributes: number (2) | length (2) | value | padding to 4 ...      |
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, NewType

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.stun.attribute import (
    ATTRIBUTES,
    FINGERPRINT,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    USERNAME,
    Attribute,
    AttributeValue,
    is_required,
)
from p2ptun.stun.codec import MAGIC_COOKIE, V, padding
from p2ptun.stun.integrity import (
    HMAC_SHA1,
    HMAC_SHA256,
    NO_INTEGRITY,
    Integrity,
    IntegrityAlgorithm,
    Mac,
    compute_fingerprint,
    compute_mac,
)
from p2ptun.types import RandomBytes

TransactionId = NewType("TransactionId", bytes)
"""12 random bytes that tie a response to its request. Unguessable: they are all that guards an unsealed response."""

HEADER_LENGTH: Final = 20
TRANSACTION_ID_LENGTH: Final = 12
LONGEST_BODY: Final = 0xFFFC  # the largest multiple of 4 that the length field holds
MAX_ATTRIBUTES: Final = 32
"""Attributes of a message that we read: the fullest that any RFC describes has half as many. Without a bound one
datagram of empty attributes, from anybody, would cost as much time as thousands of packets."""

_HEADER: Final = struct.Struct(">HH4s12s")
_ATTRIBUTE: Final = struct.Struct(">HH")
_SEALS: Final = ((HMAC_SHA1, MESSAGE_INTEGRITY, 20), (HMAC_SHA256, MESSAGE_INTEGRITY_SHA256, 32))
_COMPUTED: Final = (MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, FINGERPRINT)


class Method(IntEnum):
    """What is asked for: RFC 8489 18.2 and RFC 8656 17."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class MessageClass(Enum):
    """The two class bits (RFC 8489 5)."""

    REQUEST = 0b00
    INDICATION = 0b01
    SUCCESS = 0b10
    ERROR = 0b11


_CLASSES: Final = tuple(MessageClass)  # by value


@dataclass(frozen=True, slots=True)
class Message:
    """A STUN message: ours to encode, or a received one.

    `attributes` never holds MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT: these are computed by
    `encode_message` and described by the fields below, which only `decode_message` fills in.

    * `raw`: the datagram as it came.
    * `unknown_required`: comprehension-required attributes that we don't know; a request gets 420 for them.
    * `has_fingerprint`: whether a FINGERPRINT was there; a wrong one doesn't get this far.
    * `macs`: the seals, MESSAGE-INTEGRITY before MESSAGE-INTEGRITY-SHA256. Not verified: see `verify_integrity`.
    """

    method: Method
    message_class: MessageClass
    transaction_id: TransactionId
    attributes: tuple[AttributeValue, ...] = ()
    raw: bytes = field(default=b"", compare=False, repr=False)
    unknown_required: tuple[int, ...] = field(default=(), compare=False)
    has_fingerprint: bool = field(default=False, compare=False)
    macs: tuple[Mac, ...] = field(default=(), compare=False, repr=False)

    def get(self, attribute: Attribute[V]) -> V | None:
        """Give the value of an attribute; its first one counts when it comes twice (RFC 8489 14)."""
        return next(iter(self.get_all(attribute)), None)

    def get_all(self, attribute: Attribute[V]) -> tuple[V, ...]:
        """Give the values of an attribute that may come several times, such as XOR-PEER-ADDRESS."""
        return tuple(value for found, value in self.attributes if found is attribute)

    @property
    def is_response(self) -> bool:
        """Tell whether this answers a request."""
        return self.message_class in (MessageClass.SUCCESS, MessageClass.ERROR)

    @property
    def integrity(self) -> IntegrityAlgorithm:
        """The kinds of seal that the received message carries, good or bad."""
        algorithms = NO_INTEGRITY
        for mac in self.macs:
            algorithms |= mac.algorithm
        return algorithms


def new_transaction_id(random_bytes: RandomBytes) -> TransactionId:
    """Draw a transaction ID (RFC 8489 5: uniformly and cryptographically random)."""
    return TransactionId(random_bytes(TRANSACTION_ID_LENGTH))


def success_response(request: Message, *attributes: AttributeValue) -> Message:
    """Make the success response to `request`."""
    return Message(request.method, MessageClass.SUCCESS, request.transaction_id, attributes)


def is_stun(data: bytes) -> bool:
    """Tell cheaply whether a datagram claims to be one whole STUN message (RFC 8489 6.3, RFC 7983).

    Two zero bits, a length that is a multiple of 4 and fits the datagram, the magic cookie.
    """
    return (
        len(data) >= HEADER_LENGTH
        and data[0] < 0x40
        and data[4:8] == MAGIC_COOKIE
        and data[3] & 3 == 0
        and int.from_bytes(data[2:4], "big") + HEADER_LENGTH == len(data)
    )


def peek_header(data: bytes) -> tuple[MessageClass, TransactionId] | None:
    """Give class and transaction ID of an untrusted datagram that claims to be STUN; None of any other.

    It promises nothing of what follows the header: it is for whoever only has to find the one that will decode it all.
    """
    if not is_stun(data):
        return None
    message_class = _CLASSES[(data[0] & 1) << 1 | data[1] >> 4 & 1]
    return message_class, TransactionId(bytes(data[HEADER_LENGTH - TRANSACTION_ID_LENGTH : HEADER_LENGTH]))


def peek_username(data: bytes) -> str | None:
    """Give the USERNAME of a datagram that `peek_header` took; None when it has none, or is malformed up to there.

    Whatever `decode_message` accepts has the same USERNAME for both.
    """
    try:
        for _, number, value in _iterate_untrusted(data):
            if number == USERNAME.number:
                return USERNAME.decode(value, b"")
            if number in (MESSAGE_INTEGRITY.number, MESSAGE_INTEGRITY_SHA256.number):
                return None
    except MalformedPacket:
        pass
    return None


def encode_message(message: Message, integrity: Integrity | None = None, fingerprint: bool = True) -> bytes:
    """Encode our own message: its attributes in their order, then the seals, then FINGERPRINT.

    Raises:
        LocalProtocolError: a value that its attribute can't carry, or more than a message holds.
    """
    out = bytearray(_HEADER.pack(_pack_type(message), 0, MAGIC_COOKIE, message.transaction_id))
    for attribute, value in message.attributes:
        if attribute in _COMPUTED:
            raise LocalProtocolError(f"{attribute.name} is computed, never given")
        _append(out, attribute, attribute.encode(value, message.transaction_id))
    if integrity is not None:
        for algorithm, attribute, length in _SEALS:
            if algorithm in integrity.algorithm:
                _reserve(out, attribute, length)
                _append(out, attribute, compute_mac(bytes(out), algorithm, integrity.key))
    if fingerprint:
        _reserve(out, FINGERPRINT, 4)
        _append(out, FINGERPRINT, compute_fingerprint(out).to_bytes(4, "big"))
    return bytes(out)


def decode_message(data: bytes) -> Message:
    """Decode an untrusted datagram.

    Attributes behind MESSAGE-INTEGRITY, other than MESSAGE-INTEGRITY-SHA256 and FINGERPRINT, are ignored, since no
    seal covers them (RFC 8489 14.5, 14.6). Unknown comprehension-optional attributes are ignored too.

    Raises:
        MalformedPacket: not STUN, an unknown method, a cut or impossible attribute or too many, a wrong or misplaced
            FINGERPRINT.
    """
    if not is_stun(data):
        raise MalformedPacket("no STUN message")
    kind, _, _, transaction_id = _HEADER.unpack_from(data)
    method, message_class = _unpack_type(kind)
    body, macs, has_fingerprint = _unseal_untrusted(data)
    known = [(ATTRIBUTES[number], value) for number, value in body if number in ATTRIBUTES]
    return Message(
        method,
        message_class,
        TransactionId(transaction_id),
        tuple((attribute, attribute.decode(value, transaction_id)) for attribute, value in known),
        bytes(data),
        tuple(number for number, _ in body if number not in ATTRIBUTES and is_required(number)),
        has_fingerprint,
        macs,
    )


def _unseal_untrusted(data: bytes) -> tuple[list[tuple[int, bytes]], tuple[Mac, ...], bool]:
    """Part the attributes that count, undecoded, from the seals; check FINGERPRINT and tell whether it was there."""
    body: list[tuple[int, bytes]] = []
    macs: list[Mac] = []
    has_fingerprint = False
    for at, number, value in _iterate_untrusted(data):
        if has_fingerprint:
            raise MalformedPacket("FINGERPRINT isn't the last attribute")
        if number == FINGERPRINT.number:
            _check_fingerprint(data, at, value)
            has_fingerprint = True
        elif number == MESSAGE_INTEGRITY.number and not macs:
            macs.append(Mac(HMAC_SHA1, at, MESSAGE_INTEGRITY.decode(value, b"")))
        elif number == MESSAGE_INTEGRITY_SHA256.number and not (macs and macs[-1].algorithm is HMAC_SHA256):
            macs.append(Mac(HMAC_SHA256, at, MESSAGE_INTEGRITY_SHA256.decode(value, b"")))
        elif not macs:
            body.append((number, value))
    return body, tuple(macs), has_fingerprint


def _iterate_untrusted(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give offset, number and value of each attribute. Padding may hold anything (RFC 8489 14)."""
    at = HEADER_LENGTH
    left = MAX_ATTRIBUTES
    while at < len(data):
        left -= 1
        if left < 0:
            raise MalformedPacket(f"more than {MAX_ATTRIBUTES} attributes")
        number, length = _ATTRIBUTE.unpack_from(data, at)  # the body is a multiple of 4, so a header always fits
        start, end = at + 4, at + 4 + length
        if end > len(data):
            raise MalformedPacket(f"attribute 0x{number:04X} is cut")
        yield at, number, data[start:end]
        at = end + padding(length)


def _check_fingerprint(data: bytes, at: int, value: bytes) -> None:
    if FINGERPRINT.decode(value, b"") != compute_fingerprint(data[:at]):
        raise MalformedPacket("wrong FINGERPRINT")


def _append(out: bytearray, attribute: Attribute[V], value: bytes) -> None:
    """Append one attribute with header and padding, and count it into the message's length."""
    _reserve(out, attribute, len(value))
    out += _ATTRIBUTE.pack(attribute.number, len(value)) + value + bytes(padding(len(value)))


def _reserve(out: bytearray, attribute: Attribute[V], length: int) -> None:
    """Set the message's length to the end of an attribute that is about to follow with a value of `length` bytes."""
    body_length = len(out) - HEADER_LENGTH + 4 + length + padding(length)
    if body_length > LONGEST_BODY:
        raise LocalProtocolError(f"{attribute.name} doesn't fit: a message holds {LONGEST_BODY} bytes")
    out[2:4] = body_length.to_bytes(2, "big")


def _pack_type(message: Message) -> int:
    """Mix method and class: `M11-M7 C1 M6-M4 C0 M3-M0` below the two zero bits (RFC 8489 figure 3)."""
    method, bits = message.method, message.message_class.value
    return (method & 0xF80) << 2 | (bits & 2) << 7 | (method & 0x070) << 1 | (bits & 1) << 4 | method & 0x00F


def _unpack_type(kind: int) -> tuple[Method, MessageClass]:
    number = (kind & 0x3E00) >> 2 | (kind & 0x00E0) >> 1 | kind & 0x000F
    try:
        return Method(number), MessageClass((kind & 0x0100) >> 7 | (kind & 0x0010) >> 4)
    except ValueError as error:
        raise MalformedPacket(f"unknown method 0x{number:03X}") from error
