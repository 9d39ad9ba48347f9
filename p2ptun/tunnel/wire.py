"""The four datagrams of the tunnel, byte by byte.

The first byte keeps clear of STUN (0-3), DTLS (20-63), ChannelData (64-79) and RTP (128-191), RFC 7983::

    initiation    0xD1 | sender's index (3)   | Noise message 1 | mac1 (16) | mac2 (16)
    response      0xD2 | receiver's index (3) | Noise message 2 | mac1 (16)
    cookie reply  0xD3 | receiver's index (3) | nonce (24) | sealed cookie (16 + 16)
    data          0xD4 | receiver's index (3) | counter (8, big endian) | AEAD(plaintext)

Plaintext ends with its description, the frame kind, so that what stands before it can be decrypted in place::

    BUNDLE   (flags (1) | IP packet)* | 1       lengths come from the IP headers
    SEGMENT  one slice of a super-packet | 2    a feature to be negotiated; nobody offers it yet
    CONTROL  MessagePack | 3

The indices of the handshake stand in the clear for demultiplexing and for the cookie reply, whose sender can't read
the Noise message. The authenticated ones are inside; the two are compared.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from p2ptun.errors import MalformedPacket
from p2ptun.tunnel.index import SessionIndex


class MessageType(IntEnum):
    """The first byte of a datagram."""

    INITIATION = 0xD1
    RESPONSE = 0xD2
    COOKIE_REPLY = 0xD3
    DATA = 0xD4


class FrameKind(IntEnum):
    """The last byte of a plaintext."""

    BUNDLE = 1
    SEGMENT = 2
    CONTROL = 3


HEADER_SIZE = 4
MAC_SIZE = 16
NONCE_SIZE = 24
COOKIE_SIZE = 16
SEALED_COOKIE_SIZE = COOKIE_SIZE + 16

NOISE_1_OVERHEAD = 32 + 48 + 16  # e, sealed s, tag of the payload
NOISE_2_OVERHEAD = 32 + 16  # e, tag of the payload
MAX_HELLO = 256  # room to grow; the largest of today is 78 bytes

INITIATION_OVERHEAD = HEADER_SIZE + NOISE_1_OVERHEAD + 2 * MAC_SIZE
RESPONSE_OVERHEAD = HEADER_SIZE + NOISE_2_OVERHEAD + MAC_SIZE
COOKIE_REPLY_SIZE = HEADER_SIZE + NONCE_SIZE + SEALED_COOKIE_SIZE

DATA_HEADER = struct.Struct(">IQ")  # type and index in one word, counter
DATA_HEADER_SIZE = DATA_HEADER.size
_HEADER = struct.Struct(">I")
_INDEX_MASK = 0xFFFFFF


@dataclass(frozen=True, slots=True)
class Initiation:
    """A decoded 0xD1. `body` is what mac1 covers: everything before it."""

    sender: SessionIndex
    body: bytes
    mac1: bytes
    mac2: bytes

    @property
    def noise(self) -> bytes:
        """The Noise message inside."""
        return self.body[HEADER_SIZE:]

    @property
    def ephemeral(self) -> bytes:
        """The initiator's ephemeral public key, in the clear at the start of the Noise message."""
        return self.body[HEADER_SIZE : HEADER_SIZE + 32]


@dataclass(frozen=True, slots=True)
class Response:
    """A decoded 0xD2. `body` is what mac1 covers: everything before it."""

    receiver: SessionIndex
    body: bytes
    mac1: bytes

    @property
    def noise(self) -> bytes:
        """The Noise message inside."""
        return self.body[HEADER_SIZE:]


@dataclass(frozen=True, slots=True)
class CookieReply:
    """A decoded 0xD3."""

    receiver: SessionIndex
    nonce: bytes
    sealed: bytes


def header_word(kind: MessageType, index: int) -> int:
    """Return the first four bytes of a datagram as one number."""
    return kind << 24 | index


def peek_index(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Return the index of the datagram of at least four bytes at `start`, unchecked: the header alone is read."""
    return data[start + 1] << 16 | data[start + 2] << 8 | data[start + 3]


def encode_body(kind: MessageType, index: SessionIndex, noise: bytes) -> bytes:
    """Build the part of a handshake datagram that mac1 covers."""
    return _HEADER.pack(header_word(kind, index)) + noise


def encode_cookie_reply(reply: CookieReply) -> bytes:
    """Build a 0xD3."""
    return _HEADER.pack(header_word(MessageType.COOKIE_REPLY, reply.receiver)) + reply.nonce + reply.sealed


def decode_initiation(data: bytes) -> Initiation:
    """Split a 0xD1. Nothing in it is authenticated yet.

    Raises:
        MalformedPacket: another type or an impossible length.
    """
    index = _check(data, MessageType.INITIATION, INITIATION_OVERHEAD, INITIATION_OVERHEAD + MAX_HELLO)
    return Initiation(index, data[: -2 * MAC_SIZE], data[-2 * MAC_SIZE : -MAC_SIZE], data[-MAC_SIZE:])


def decode_response(data: bytes) -> Response:
    """Split a 0xD2. Nothing in it is authenticated yet.

    Raises:
        MalformedPacket: another type or an impossible length.
    """
    index = _check(data, MessageType.RESPONSE, RESPONSE_OVERHEAD, RESPONSE_OVERHEAD + MAX_HELLO)
    return Response(index, data[:-MAC_SIZE], data[-MAC_SIZE:])


def decode_cookie_reply(data: bytes) -> CookieReply:
    """Split a 0xD3. Nothing in it is authenticated yet.

    Raises:
        MalformedPacket: another type or length.
    """
    index = _check(data, MessageType.COOKIE_REPLY, COOKIE_REPLY_SIZE, COOKIE_REPLY_SIZE)
    return CookieReply(index, data[HEADER_SIZE : HEADER_SIZE + NONCE_SIZE], data[HEADER_SIZE + NONCE_SIZE :])


def _check(data: bytes, kind: MessageType, least: int, most: int) -> SessionIndex:
    if not least <= len(data) <= most:
        raise MalformedPacket(f"{kind.name.lower()} of {len(data)} bytes")
    if data[0] != kind:
        raise MalformedPacket(f"type {data[0]:#x} is no {kind.name.lower()}")
    return SessionIndex(_HEADER.unpack_from(data)[0] & _INDEX_MASK)
