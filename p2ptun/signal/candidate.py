"""Candidates in signalling: 9 bytes for IPv4, 21 for IPv6, where RFC 8839's text takes a hundred characters.

::

    0      1 byte      bits 0-1 type: host, srflx, prflx, relay
                       bits 2-3 transport: UDP, TCP active, TCP passive, TCP simultaneous open
                       bit 4    family: IPv4, IPv6
                       bits 5-7 zero
    1      4 or 16     address, without a zone
    ..     2           port
    ..     2           local preference (RFC 8445 5.1.2.1)

The priority follows from type and local preference, both sides using the recommended type preferences. The foundation
is made from type, transport and address: it only has to be equal for candidates that share their fate, and two
candidates with one address do.
"""

from __future__ import annotations

import zlib
from ipaddress import IPv4Address, IPv6Address

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.priority import candidate_priority
from p2ptun.signal.cursor import Cursor
from p2ptun.types import Endpoint, Transport

_TYPES = (CandidateType.HOST, CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE, CandidateType.RELAYED)
_TRANSPORTS = (
    (Transport.UDP, None),
    (Transport.TCP, TcpType.ACTIVE),
    (Transport.TCP, TcpType.PASSIVE),
    (Transport.TCP, TcpType.SIMULTANEOUS_OPEN),
)


def encode_candidate(candidate: Candidate) -> bytes:
    """Write one of our candidates. Raises LocalProtocolError for a transport that no candidate has."""
    transport = (candidate.transport, candidate.tcp_type)
    if transport not in _TRANSPORTS:
        raise LocalProtocolError(f"no candidate has transport {candidate.transport.value}, {candidate.tcp_type}")
    address = candidate.endpoint.address
    head = _TYPES.index(candidate.type) | _TRANSPORTS.index(transport) << 2 | (address.version == 6) << 4
    preference = candidate.priority >> 8 & 0xFFFF
    return bytes([head]) + address.packed + candidate.endpoint.port.to_bytes(2, "big") + preference.to_bytes(2, "big")


def decode_candidate(data: bytes, generation: int = 0, ufrag: str = "") -> Candidate:
    """Read one candidate of the other side, and nothing behind it. Untrusted. Raises MalformedPacket."""
    cursor = Cursor(data)
    candidate = take_candidate(cursor, generation, ufrag)
    if cursor.left:
        raise MalformedPacket(f"{cursor.left} bytes behind a candidate")
    return candidate


def take_candidate(cursor: Cursor, generation: int, ufrag: str) -> Candidate:
    """Take a candidate of the other side from `cursor`. Untrusted. Raises MalformedPacket."""
    head = cursor.number(1)
    if head >> 5:
        raise MalformedPacket(f"candidate of unknown kind {head:#x}")
    candidate_type = _TYPES[head & 3]
    transport, tcp_type = _TRANSPORTS[head >> 2 & 3]
    address = IPv6Address(cursor.take(16)) if head & 16 else IPv4Address(cursor.take(4))
    endpoint = Endpoint.of(address, cursor.number(2), transport)
    return Candidate(
        type=candidate_type,
        endpoint=endpoint,
        priority=candidate_priority(candidate_type, cursor.number(2)),
        foundation=_foundation(head, endpoint),
        base=endpoint,
        generation=generation,
        ufrag=ufrag,
        tcp_type=tcp_type,
    )


def _foundation(head: int, endpoint: Endpoint) -> str:
    return f"{zlib.crc32(bytes([head]) + endpoint.address.packed):08x}"
