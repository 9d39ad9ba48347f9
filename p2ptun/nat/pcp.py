"""The Port Control Protocol on the wire (RFC 6887): the MAP opcode as a client asks and reads it.

::

    request (7.1)                                 response (7.2)
    0   1  version 2                              0   1  version 2
    1   1  opcode                                 1   1  R bit and opcode
    2   2  reserved                               2   1  reserved
                                                  3   1  result code
    4   4  requested lifetime, seconds            4   4  lifetime, seconds
    8  16  the client's address                   8   4  epoch time, seconds
                                                  12 12  reserved

    MAP, behind either (11.1)
    24 12  mapping nonce
    36  1  protocol
    37  3  reserved
    40  2  internal port
    42  2  external port: suggested, or assigned
    44 16  external address: suggested, or assigned

All addresses have 16 bytes: one of IPv4 is written IPv4-mapped (5). Options may follow; we send none and read none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from p2ptun.errors import MalformedPacket
from p2ptun.types import Endpoint, IPAddress, unmapped, without_zone

PORT: Final = 5351  # RFC 6887 19.1
VERSION: Final = 2  # RFC 6887 7.1
MAP: Final = 1  # opcode, RFC 6887 11
UDP: Final = 17  # protocol number
MAX_SIZE: Final = 1100  # bytes, RFC 6887 7
NONCE_SIZE: Final = 12  # bytes, RFC 6887 11.1

_RESPONSE = 0x80  # the R bit
_REQUEST_HEADER = struct.Struct(">BBHI16s")
_RESPONSE_HEADER = struct.Struct(">BBBBII12x")
_MAP = struct.Struct(">12sB3xHH16s")
_NOWHERE = {4: bytes(10) + b"\xff\xff" + bytes(4), 6: bytes(16)}  # RFC 6887 5: the all-zeros address of each family


class ResultCode(IntEnum):
    """RFC 6887 7.4."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Ask for a mapping of a UDP port, or its renewal; with a lifetime of 0, that it ends (RFC 6887 11.1, 15).

    `client` is the address that the request is sent from. `suggested` is what the gateway may assign: its address is
    unspecified, and of the wanted family, where any will do.
    """

    client: IPAddress
    nonce: bytes
    internal_port: int
    suggested: Endpoint
    lifetime: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """What the answer to a MAP request says of the mapping."""

    nonce: bytes
    protocol: int
    internal_port: int
    external: Endpoint


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Of one in another version than ours nothing but version and result are known (RFC 6887 9).

    `lifetime` is that of the mapping, or for how long an error will last (7.2). `mapping` is there when the opcode is
    MAP; a server that doesn't speak our version need not repeat it.
    """

    version: int
    opcode: int
    result: int
    lifetime: int = 0
    epoch: int = 0
    mapping: Mapping | None = None


def encode_map_request(request: MapRequest) -> bytes:
    """Write a request."""
    header = _REQUEST_HEADER.pack(VERSION, MAP, 0, request.lifetime, _packed(request.client))
    suggested = request.suggested
    address = _NOWHERE[suggested.address.version] if suggested.address.is_unspecified else _packed(suggested.address)
    return header + _MAP.pack(request.nonce, UDP, request.internal_port, suggested.port, address)


def decode_response(data: bytes) -> Response:
    """Read an answer of any version but that of NAT-PMP.

    Raises:
        MalformedPacket: If it is none.
    """
    if len(data) > MAX_SIZE or len(data) % 4 != 0:  # RFC 6887 8.3
        raise MalformedPacket(f"PCP response of {len(data)} bytes")
    if len(data) < _RESPONSE_HEADER.size:
        raise MalformedPacket(f"PCP header of {len(data)} bytes")
    version, opcode, _, result, lifetime, epoch = _RESPONSE_HEADER.unpack_from(data)
    if not opcode & _RESPONSE:
        raise MalformedPacket("PCP request where a response is due")
    opcode &= ~_RESPONSE
    if version != VERSION:
        if version == 0 or result != ResultCode.UNSUPP_VERSION:
            raise MalformedPacket(f"PCP version {version}")
        return Response(version, opcode, result)
    mapping = None
    if opcode == MAP and not (result == ResultCode.UNSUPP_VERSION and len(data) == _RESPONSE_HEADER.size):
        mapping = _decode_mapping(data)
    return Response(version, opcode, result, lifetime, epoch, mapping)


def is_epoch_plausible(before: int, now: int, elapsed: float) -> bool:
    """Tell whether a gateway's clock went on as one does that wasn't reset (RFC 6887 8.5).

    `before` and `now` are two epoch times of its, received `elapsed` seconds apart. One that was reset has lost its
    mappings. It may run slower or faster than ours by a sixteenth, and 2 s are for the time on the way.
    """
    if now + 1 < before:
        return False
    theirs = now - before
    return elapsed + 2 >= theirs - theirs / 16 and theirs + 2 >= elapsed - elapsed / 16


def _decode_mapping(data: bytes) -> Mapping:
    if len(data) < _RESPONSE_HEADER.size + _MAP.size:
        raise MalformedPacket(f"PCP MAP response of {len(data)} bytes")
    nonce, protocol, internal, external, address = _MAP.unpack_from(data, _RESPONSE_HEADER.size)
    return Mapping(nonce, protocol, internal, Endpoint.of(IPv6Address(address), external))


def _packed(address: IPAddress) -> bytes:
    """Write an address in 16 bytes (RFC 6887 5)."""
    plain = without_zone(unmapped(address))
    return bytes(10) + b"\xff\xff" + plain.packed if isinstance(plain, IPv4Address) else plain.packed
