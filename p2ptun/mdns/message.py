"""DNS messages as multicast DNS has them (RFC 1035 4.1, RFC 6762 18).

::

    0   2  id: zero, but in legacy queries and the answers to these (RFC 6762 18.1, 6.7)
    2   2  QR | opcode (4) | AA | TC | RD | RA | Z | AD | CD | rcode (4)
    4   8  how many questions, answers, authorities and additionals follow
    12     questions: name, type (2), QU bit and class (15)
    ..     records: name, type (2), cache-flush bit and class (15), TTL (4), length (2), data

A name is its labels, a byte of length before each, and a zero; or, from any label on, a pointer to where the rest was
written before (RFC 1035 4.1.4). Pointers are followed backwards only, so that no loop can be made of them, and not many
to a name: thousands, one behind the other, would make a message that takes a third of a second to read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.types import IPAddress, unmapped

Labels: TypeAlias = tuple[bytes, ...]
"""A name: its labels in lower case, without the empty one of the root. Any bytes but upper-case letters occur."""

MAX_MESSAGE_SIZE: Final = 9000  # bytes, RFC 6762 17
MAX_LABEL: Final = 63  # bytes, RFC 1035 2.3.4
MAX_NAME: Final = 255  # bytes on the wire, RFC 1035 2.3.4
MAX_POINTERS: Final = 32  # our choice: of one name; an honest one has one, or a few where a name ends in another
MAX_ENTRIES: Final = 256  # our choice: questions and records in one message; bounds what a hostile one costs to read

INTERNET: Final = 1  # class IN, RFC 1035 3.2.4
ANY_CLASS: Final = 255  # RFC 1035 3.2.5
TOP_BIT: Final = 0x8000  # of a class: QU in questions (RFC 6762 5.4), cache-flush in records (10.2)

_HEADER = struct.Struct(">6H")
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED = 0x8000, 0x0400, 0x0200
_OPCODE_AND_RCODE = 0x780F
_REFUSED = 5  # the rcode that stands for any, RFC 1035 4.1.1
_POINTER = 0xC0
_POINTER_LIMIT = 1 << 14  # what 14 bits can point to, RFC 1035 4.1.4


class RecordType(IntEnum):
    """The types that we write or look at (RFC 1035 3.2.2, RFC 3596 2.1, RFC 4034 4)."""

    A = 1
    AAAA = 28
    NSEC = 47
    ANY = 255


@dataclass(frozen=True, slots=True)
class Question:
    """What a query asks for. `wants_unicast` is the QU bit: answer me alone, please (RFC 6762 5.4)."""

    name: Labels
    type: int
    wants_unicast: bool = False
    class_: int = INTERNET


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record. `is_unique` is the cache-flush bit: this is all there is of name and type (RFC 6762 10.2)."""

    name: Labels
    type: int
    data: bytes
    ttl: int
    is_unique: bool = False
    class_: int = INTERNET

    @property
    def address(self) -> IPAddress | None:
        """The address of an A or AAAA record, IPv4 in disguise unmasked; None for any other record."""
        if self.class_ != INTERNET:
            return None
        if self.type == RecordType.A and len(self.data) == 4:
            return IPv4Address(self.data)
        if self.type == RecordType.AAAA and len(self.data) == 16:
            return unmapped(IPv6Address(self.data))
        return None


@dataclass(frozen=True, slots=True)
class Message:
    """A query or a response. `is_refused`: it has an opcode or an rcode, and is ignored (RFC 6762 18.3, 18.11)."""

    id: int = 0
    is_response: bool = False
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authorities: tuple[Record, ...] = ()
    additionals: tuple[Record, ...] = ()
    is_truncated: bool = False
    is_refused: bool = False


def address_record(name: Labels, address: IPAddress, ttl: int, is_unique: bool = True) -> Record:
    """Make the A or AAAA record of a name; a zone stays at home."""
    kind = RecordType.A if address.version == 4 else RecordType.AAAA
    return Record(name, kind, address.packed, ttl, is_unique)


def denial_record(name: Labels, existing: RecordType, ttl: int, is_unique: bool = True) -> Record:
    """Make the NSEC record that denies a name every type but `existing`, which is below 256 (RFC 6762 6.1).

    Its data are the name itself, a window 0, and a bitmap in which bit n, counted from the left, is type n.
    """
    bitmap = bytearray(existing // 8 + 1)
    bitmap[-1] = 0x80 >> existing % 8
    return Record(name, RecordType.NSEC, _plain(name) + bytes([0, len(bitmap)]) + bitmap, ttl, is_unique)


def encode_message(message: Message) -> bytes:
    """Write one of our own messages. Raises LocalProtocolError for a label or name that is too long."""
    sections = (message.answers, message.authorities, message.additionals)
    flags = message.is_truncated * _TRUNCATED | message.is_refused * _REFUSED
    if message.is_response:
        flags |= _RESPONSE | _AUTHORITATIVE  # RFC 6762 18.4: always set
    writer = _Writer(_HEADER.pack(message.id, flags, len(message.questions), *map(len, sections)))
    for question in message.questions:
        writer.write_name(question.name)
        writer.out += _QUESTION.pack(question.type, question.wants_unicast * TOP_BIT | question.class_)
    for record in (record for section in sections for record in section):
        writer.write_name(record.name)
        top_bit = record.is_unique * TOP_BIT
        writer.out += _RECORD.pack(record.type, top_bit | record.class_, record.ttl, len(record.data)) + record.data
    return bytes(writer.out)


def decode_message(data: bytes) -> Message:
    """Read a message from the network. Untrusted. Raises MalformedPacket."""
    if not _HEADER.size <= len(data) <= MAX_MESSAGE_SIZE:
        raise MalformedPacket(f"DNS message of {len(data)} bytes")
    identifier, flags, *counts = _HEADER.unpack_from(data)
    if sum(counts) > MAX_ENTRIES:
        raise MalformedPacket(f"DNS message with {sum(counts)} entries")
    reader = _Reader(data)
    questions, answers, authorities, additionals = counts
    return Message(
        id=identifier,
        is_response=bool(flags & _RESPONSE),
        questions=tuple(reader.take_question() for _ in range(questions)),
        answers=tuple(reader.take_record() for _ in range(answers)),
        authorities=tuple(reader.take_record() for _ in range(authorities)),
        additionals=tuple(reader.take_record() for _ in range(additionals)),
        is_truncated=bool(flags & _TRUNCATED),
        is_refused=bool(flags & _OPCODE_AND_RCODE),
    )


class _Writer:
    """Bytes in the making, and where in them each name can be pointed to."""

    __slots__ = ("_offsets", "out")

    def __init__(self, header: bytes) -> None:
        self.out = bytearray(header)
        self._offsets: dict[Labels, int] = {}

    def write_name(self, name: Labels) -> None:
        """Write a name, its end as a pointer when that end was written before (RFC 6762 18.14)."""
        _plain(name)
        for at in range(len(name)):
            known = self._offsets.get(name[at:])
            if known is not None:
                self.out += (_POINTER << 8 | known).to_bytes(2, "big")
                return
            if len(self.out) < _POINTER_LIMIT:
                self._offsets[name[at:]] = len(self.out)
            self.out += bytes([len(name[at])]) + name[at]
        self.out.append(0)


class _Reader:
    """A place in a message, which only moves forward."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _HEADER.size

    def take_question(self) -> Question:
        name = self._take_name()
        kind, class_ = _QUESTION.unpack(self._take(_QUESTION.size))
        return Question(name, kind, bool(class_ & TOP_BIT), class_ & ~TOP_BIT)

    def take_record(self) -> Record:
        name = self._take_name()
        kind, class_, ttl, length = _RECORD.unpack(self._take(_RECORD.size))
        return Record(name, kind, self._take(length), ttl, bool(class_ & TOP_BIT), class_ & ~TOP_BIT)

    def _take(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        return self._slice(start, self._at)

    def _slice(self, start: int, end: int) -> bytes:
        if end > len(self._data):
            raise MalformedPacket("DNS message cut short")
        return self._data[start:end]

    def _take_name(self) -> Labels:
        """Take a name. Each pointer has to lead further back than the one before it, so there is an end."""
        labels: list[bytes] = []
        size, at, behind, pointers = 1, self._at, 0, 0
        lowest = at
        while (length := self._slice(at, at + 1)[0]) != 0:
            if length >= _POINTER:
                behind, pointers = behind or at + 2, pointers + 1
                if pointers > MAX_POINTERS:
                    raise MalformedPacket("DNS name with too many pointers")
                at = lowest = self._target(at, lowest)
                continue
            if length > MAX_LABEL or size + length + 1 > MAX_NAME:
                raise MalformedPacket("DNS label of an unknown kind, or too many")
            labels.append(self._slice(at + 1, at + 1 + length).lower())
            at += 1 + length
            size += 1 + length
        self._at = behind or at + 1
        return tuple(labels)

    def _target(self, at: int, lowest: int) -> int:
        """Read a pointer, which has to lead to before `lowest`."""
        target = int.from_bytes(self._slice(at, at + 2), "big") & _POINTER_LIMIT - 1
        if not _HEADER.size <= target < lowest:
            raise MalformedPacket("DNS pointer that doesn't lead back")
        return target


def _plain(name: Labels) -> bytes:
    """Write a name without pointers. Raises LocalProtocolError."""
    if not all(0 < len(label) <= MAX_LABEL for label in name):
        raise LocalProtocolError("a DNS label has 1 to 63 bytes")
    plain = b"".join(bytes([len(label)]) + label for label in name) + b"\0"
    if len(plain) > MAX_NAME:
        raise LocalProtocolError(f"a DNS name of {len(plain)} bytes")
    return plain
