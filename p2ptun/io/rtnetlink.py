"""Routing netlink as bytes (rtnetlink(7), RFC 3549): for what is heard or asked too often to go through pyroute2.

A message is a header (length, type, flags, sequence number, port), a structure of its type, and attributes (length,
type, value), each filled up to 4 bytes; all in the byte order of the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

NLM_F_REQUEST = 1  # linux/netlink.h
MAIN_TABLE = 254  # RT_TABLE_MAIN, linux/rtnetlink.h
IFF_UP_AND_RUNNING = 0x1 | 0x40  # linux/if.h

ROUTE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags."""

INTERFACE_INDEX = struct.Struct("=i")

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF  # NLA_TYPE_MASK: above it are flags


class MessageType(IntEnum):
    """linux/netlink.h and linux/rtnetlink.h, what we need of them."""

    ERROR = 2
    NEW_LINK = 16
    DEL_LINK = 17
    NEW_ADDRESS = 20
    DEL_ADDRESS = 21
    NEW_ROUTE = 24
    DEL_ROUTE = 25
    GET_ROUTE = 26


@dataclass(frozen=True, slots=True)
class Message:
    """One message, without its header."""

    type: int
    sequence: int
    body: bytes

    def attributes(self, offset: int) -> dict[int, bytes]:
        """Read the attributes that stand behind a structure of `offset` bytes; of several of a kind, the last."""
        found, body = {}, self.body
        while offset + _ATTRIBUTE.size <= len(body):
            size, kind = _ATTRIBUTE.unpack_from(body, offset)
            if size < _ATTRIBUTE.size:
                break
            found[kind & _TYPE_MASK] = body[offset + _ATTRIBUTE.size : offset + size]
            offset += _padded(size)
        return found


def encode_request(kind: MessageType, sequence: int, structure: bytes, attributes: Mapping[int, bytes]) -> bytes:
    """Write one request."""
    body = structure + b"".join(_encode_attribute(kind, value) for kind, value in attributes.items())
    return _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST, sequence, 0) + body


def split_messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of one read."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        size, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if size < _HEADER.size:
            return
        yield Message(kind, sequence, data[offset + _HEADER.size : offset + size])
        offset += _padded(size)


def _encode_attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(_padded(size) - size)


def _padded(size: int) -> int:
    return size + 3 & ~3
