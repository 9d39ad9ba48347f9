"""How each kind of attribute value lies in bytes (RFC 8489 14, RFC 8656 18, RFC 5780 7).

A codec knows nothing of attribute numbers and names. It takes the transaction ID along, because XOR addresses need it.
It refuses by ValueError or struct.error; `Attribute` turns these into the error that the direction calls for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Generic, Literal, TypeVar

from p2ptun.types import Endpoint

V = TypeVar("V")

MAX_ALGORITHMS: Final = 16
"""There are two (RFC 8489 18.5.1). A datagram could list 16,000, at 10 ms of ours."""

MAGIC_COOKIE: Final = bytes.fromhex("2112A442")  # RFC 8489 5

USERNAME_LIMIT: Final = 508  # bytes, RFC 8489 14.3: "less than 509 bytes"
TEXT_LIMIT: Final = 763  # bytes, RFC 8489 14.8 - 14.10, 14.14: 127 characters as they may arrive
DOMAIN_LIMIT: Final = 255  # bytes, RFC 8489 14.16


@dataclass(frozen=True, slots=True)
class Codec(Generic[V]):
    """One way to lay a value into bytes: `encode(value, transaction_id)` and `decode(data, transaction_id)`."""

    encode: Callable[[V, bytes], bytes]
    decode: Callable[[bytes, bytes], V]


class AddressFamily(IntEnum):
    """The family byte of every address attribute (RFC 8489 14.1)."""

    IPV4 = 1
    IPV6 = 2


class Change(Flag):
    """What a CHANGE-REQUEST wants the answer to come from (RFC 5780 7.2)."""

    PORT = 0x2
    ADDRESS = 0x4


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """ERROR-CODE: 300 to 699 with a reason phrase for people (RFC 8489 14.8)."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class AddressError:
    """ADDRESS-ERROR-CODE: why one family could not be allocated (RFC 8656 18.12). `family` is as it was asked for."""

    family: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class PasswordAlgorithm:
    """One entry of PASSWORD-ALGORITHMS, or PASSWORD-ALGORITHM (RFC 8489 14.11, 14.12)."""

    number: int
    parameters: bytes = b""


@dataclass(frozen=True, slots=True)
class IcmpError:
    """ICMP: what the relay heard about the way to a peer (RFC 8656 18.13). A hint: nobody authenticated it."""

    type: int
    code: int
    data: int


def padding(length: int) -> int:
    """Count the bytes that follow a value of `length` bytes up to the next multiple of 4 (RFC 8489 14)."""
    return -length % 4


def text(limit: int) -> Codec[str]:
    """UTF-8 of at most `limit` bytes; other bytes are refused."""

    def decode(data: bytes, _: bytes) -> str:
        return _at_most(data, limit).decode()

    return Codec(lambda value, _: _at_most(value.encode(), limit), decode)


def label(limit: int) -> Codec[str]:
    """UTF-8 that only people read: what isn't UTF-8 becomes U+FFFD instead of costing us the message."""

    def decode(data: bytes, _: bytes) -> str:
        return _at_most(data, limit).decode(errors="replace")

    return Codec(lambda value, _: _at_most(value.encode(), limit), decode)


def opaque(shortest: int, longest: int, step: int = 1) -> Codec[bytes]:
    """Bytes as they are, `shortest` to `longest` of them, their count a multiple of `step`."""

    def check(data: bytes, _: bytes) -> bytes:
        if not shortest <= len(data) <= longest or len(data) % step:
            raise ValueError(f"{len(data)} bytes, expected {shortest} to {longest}")
        return data

    return Codec(check, check)


def integer(layout: str) -> Codec[int]:
    """One unsigned integer laid out as `struct` says; pad bytes (`x`) are reserved and ignored on receipt."""
    packed = struct.Struct(layout)

    def decode(data: bytes, _: bytes) -> int:
        (value,) = packed.unpack(data)
        return int(value)

    return Codec(lambda value, _: packed.pack(value), decode)


def _encode_flag(value: Literal[True], _: bytes) -> bytes:
    if value is not True:
        raise ValueError("a flag is present or left out")
    return b""


def _decode_flag(data: bytes, _: bytes) -> Literal[True]:
    if data:
        raise ValueError("a flag has no value")
    return True


def _encode_address(value: Endpoint, _: bytes) -> bytes:
    family = AddressFamily.IPV4 if value.address.version == 4 else AddressFamily.IPV6
    return struct.pack(">xBH", family, value.port) + value.address.packed


def _decode_address(data: bytes, _: bytes) -> Endpoint:
    family, port = struct.unpack_from(">xBH", data)
    if family == AddressFamily.IPV4 and len(data) == 8:
        return Endpoint.of(IPv4Address(data[4:]), port)
    if family == AddressFamily.IPV6 and len(data) == 20:
        return Endpoint.of(IPv6Address(data[4:]), port)
    raise ValueError(f"family {family} in {len(data)} bytes")


def _xor_address(data: bytes, transaction_id: bytes) -> bytes:
    """Mask port and address with the cookie and, beyond 32 bits, this message's transaction ID (RFC 8489 14.2)."""
    mask = MAGIC_COOKIE[:2] + MAGIC_COOKIE + transaction_id
    return data[:2] + bytes(byte ^ key for byte, key in zip(data[2:], mask, strict=False))


def _decode_xor_address(data: bytes, transaction_id: bytes) -> Endpoint:
    if len(data) > 20:
        raise ValueError(f"an address of {len(data)} bytes")
    return _decode_address(_xor_address(data, transaction_id), transaction_id)


def _pack_code(code: int) -> tuple[int, int]:
    if not 300 <= code <= 699:
        raise ValueError(f"error code {code}")
    return divmod(code, 100)


def _unpack_code(hundreds: int, number: int) -> int:
    hundreds &= 0x7  # the five bits beside the class are reserved
    if not 3 <= hundreds <= 6 or number > 99:
        raise ValueError(f"error class {hundreds}, number {number}")
    return hundreds * 100 + number


def _encode_error(value: ErrorCode, _: bytes) -> bytes:
    return struct.pack(">xxBB", *_pack_code(value.code)) + _at_most(value.reason.encode(), TEXT_LIMIT)


def _decode_error(data: bytes, _: bytes) -> ErrorCode:
    hundreds, number = struct.unpack_from(">xxBB", data)
    return ErrorCode(_unpack_code(hundreds, number), _at_most(data[4:], TEXT_LIMIT).decode(errors="replace"))


def _encode_address_error(value: AddressError, _: bytes) -> bytes:
    head = struct.pack(">BxBB", value.family, *_pack_code(value.code))
    return head + _at_most(value.reason.encode(), TEXT_LIMIT)


def _decode_address_error(data: bytes, _: bytes) -> AddressError:
    family, hundreds, number = struct.unpack_from(">BxBB", data)
    reason = _at_most(data[4:], TEXT_LIMIT).decode(errors="replace")
    return AddressError(family, _unpack_code(hundreds, number), reason)


def _encode_numbers(value: tuple[int, ...], _: bytes) -> bytes:
    return struct.pack(f">{len(value)}H", *value)


def _decode_numbers(data: bytes, _: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(data) // 2}H", data)


def _encode_algorithm(value: PasswordAlgorithm, _: bytes) -> bytes:
    length = len(value.parameters)
    return struct.pack(">HH", value.number, length) + value.parameters + bytes(padding(length))


def _decode_algorithm(data: bytes, transaction_id: bytes) -> PasswordAlgorithm:
    (algorithm,) = _decode_algorithms(data, transaction_id)
    return algorithm


def _encode_algorithms(value: tuple[PasswordAlgorithm, ...], transaction_id: bytes) -> bytes:
    return b"".join(_encode_algorithm(algorithm, transaction_id) for algorithm in value)


def _decode_algorithms(data: bytes, _: bytes) -> tuple[PasswordAlgorithm, ...]:
    algorithms: list[PasswordAlgorithm] = []
    at = 0
    while at < len(data):
        if len(algorithms) == MAX_ALGORITHMS:
            raise ValueError(f"more than {MAX_ALGORITHMS} algorithms")
        number, length = struct.unpack_from(">HH", data, at)
        start, at = at + 4, at + 4 + length
        if at > len(data):
            raise ValueError(f"algorithm parameters of {length} bytes are cut")
        algorithms.append(PasswordAlgorithm(number, data[start:at]))
        at += padding(length)
    return tuple(algorithms)


def _encode_change(value: Change, _: bytes) -> bytes:
    return struct.pack(">I", value.value)


def _decode_change(data: bytes, _: bytes) -> Change:
    (bits,) = struct.unpack(">I", data)
    return Change(bits & (Change.ADDRESS | Change.PORT).value)


def _encode_even_port(value: bool, _: bytes) -> bytes:
    return b"\x80" if value else b"\x00"


def _decode_even_port(data: bytes, _: bytes) -> bool:
    (bits,) = struct.unpack(">B", data)
    return bool(bits & 0x80)


def _decode_port(data: bytes, _: bytes) -> int:
    """Read RESPONSE-PORT: some count its two pad bytes into the length, some don't, and RFC 5780 7.5 allows both."""
    if len(data) not in (2, 4):
        raise ValueError(f"a port in {len(data)} bytes")
    return int.from_bytes(data[:2], "big")


def _encode_icmp(value: IcmpError, _: bytes) -> bytes:
    if not 0 <= value.type < 128 or not 0 <= value.code < 512:
        raise ValueError(f"ICMP type {value.type}, code {value.code}")
    return struct.pack(">xxHI", value.type << 9 | value.code, value.data)


def _decode_icmp(data: bytes, _: bytes) -> IcmpError:
    bits, rest = struct.unpack(">xxHI", data)
    return IcmpError(bits >> 9, bits & 0x1FF, rest)


def _at_most(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise ValueError(f"{len(data)} bytes, at most {limit} allowed")
    return data


FLAG: Final[Codec[Literal[True]]] = Codec(_encode_flag, _decode_flag)
"""No value at all: the attribute's presence says it."""

ADDRESS: Final = Codec(_encode_address, _decode_address)
"""`0 | family | port (2) | address (4 or 16)`. The zone of a link-local address stays here."""

XOR_ADDRESS: Final = Codec(
    lambda value, transaction_id: _xor_address(_encode_address(value, transaction_id), transaction_id),
    _decode_xor_address,
)
"""An ADDRESS whose port and address are masked, so that no NAT on the way rewrites them."""

ERROR: Final = Codec(_encode_error, _decode_error)
"""`0 (2) | class | number | reason`."""

ADDRESS_ERROR: Final = Codec(_encode_address_error, _decode_address_error)
"""`family | 0 | class | number | reason`."""

NUMBERS: Final = Codec(_encode_numbers, _decode_numbers)
"""Attribute numbers, 2 bytes each."""

ALGORITHM: Final = Codec(_encode_algorithm, _decode_algorithm)
"""`number (2) | length (2) | parameters, padded to 4`."""

ALGORITHMS: Final = Codec(_encode_algorithms, _decode_algorithms)
"""ALGORITHM after ALGORITHM, the server's favourite first."""

CHANGE: Final = Codec(_encode_change, _decode_change)
"""`0 (29 bits) | change IP | change port | 0`."""

EVEN_PORT_BIT: Final = Codec(_encode_even_port, _decode_even_port)
"""`R | 0 (7 bits)`: an even port, and with R the next higher one reserved."""

PORT: Final = Codec(integer(">Hxx").encode, _decode_port)
"""`port (2) | 0 (2)`."""

ICMP_ERROR: Final = Codec(_encode_icmp, _decode_icmp)
"""`0 (2) | type (7 bits) | code (9 bits) | error data (4)`."""
