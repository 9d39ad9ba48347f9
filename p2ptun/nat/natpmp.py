"""The NAT Port Mapping Protocol on the wire (RFC 6886): what came before PCP and is still in many homes.

::

    external address, request (3.2)               response
    0   1  version 0                              0   1  version 0
    1   1  opcode 0                               1   1  opcode 128
                                                  2   2  result code
                                                  4   4  seconds since start of epoch
                                                  8   4  external IPv4 address

    mapping of a UDP port, request (3.3)          response
    0   1  version 0                              0   1  version 0
    1   1  opcode 1                               1   1  opcode 129
    2   2  reserved                               2   2  result code
    4   2  internal port                          4   4  seconds since start of epoch
    6   2  suggested external port                8   2  internal port
    8   4  requested lifetime, seconds            10  2  mapped external port
                                                  12  4  lifetime, seconds

Behind a result code other than 0 nothing but the epoch means anything, nor need be there (3.5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final, TypeAlias

from p2ptun.errors import MalformedPacket

VERSION: Final = 0  # RFC 6886 3.1
RECOMMENDED_LIFETIME: Final = 7200  # seconds, RFC 6886 3.3

_ADDRESS, _MAP_UDP, _RESPONSE = 0, 1, 128
_HEADER = struct.Struct(">BBHI")
_MAP_REQUEST = struct.Struct(">BBHHHI")
_MAP_RESPONSE = struct.Struct(">HHI")


class ResultCode(IntEnum):
    """RFC 6886 3.5."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


@dataclass(frozen=True, slots=True)
class AddressResponse:
    """The gateway's external address; 0.0.0.0 while it has none."""

    epoch: int
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class MapResponse:
    """A mapping as it was granted; with a lifetime of 0, ended."""

    epoch: int
    internal_port: int
    external_port: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A refusal. `opcode` is that of the request as far as the gateway understood it."""

    epoch: int
    opcode: int
    result: int

    @property
    def is_about_mapping(self) -> bool:
        """Tell whether a mapping was asked for, rather than the address."""
        return self.opcode == _MAP_UDP


Response: TypeAlias = AddressResponse | MapResponse | ErrorResponse


def encode_address_request() -> bytes:
    """Ask for the gateway's external address."""
    return bytes([VERSION, _ADDRESS])


def encode_map_request(internal_port: int, suggested_port: int, lifetime: int) -> bytes:
    """Ask for a mapping of a UDP port, or its renewal; with a lifetime of 0, that it ends.

    Whoever ends one suggests port 0 (RFC 6886 3.4); whoever asks for one never does.
    """
    return _MAP_REQUEST.pack(VERSION, _MAP_UDP, 0, internal_port, suggested_port, lifetime)


def decode_response(data: bytes) -> Response:
    """Read an answer.

    Raises:
        MalformedPacket: If it is none.
    """
    if len(data) < _HEADER.size:
        raise MalformedPacket(f"NAT-PMP response of {len(data)} bytes")
    version, opcode, result, epoch = _HEADER.unpack_from(data)
    if version != VERSION:
        raise MalformedPacket(f"NAT-PMP version {version}")
    if result != ResultCode.SUCCESS:
        return ErrorResponse(epoch, opcode & ~_RESPONSE, result)
    body = data[_HEADER.size :]
    if opcode == _RESPONSE | _ADDRESS and len(body) == 4:
        return AddressResponse(epoch, IPv4Address(body))
    if opcode == _RESPONSE | _MAP_UDP and len(body) == _MAP_RESPONSE.size:
        return MapResponse(epoch, *_MAP_RESPONSE.unpack(body))
    raise MalformedPacket(f"NAT-PMP opcode {opcode} with {len(body)} bytes")


def is_epoch_plausible(before: int, now: int, elapsed: float) -> bool:
    """Tell whether a gateway's clock went on as one does that wasn't reset (RFC 6886 3.6).

    `before` and `now` are two epoch times of its, received `elapsed` seconds apart. A slow clock may lose an eighth,
    and 2 s are for the time on the way.
    """
    return now + 2 >= before + elapsed * 7 / 8
