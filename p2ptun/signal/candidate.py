"""Candidates in signalling: 9 bytes for IPv4, 21 for IPv6, where RFC 8839's text takes a hundred characters.

::

    0      1 byte      bits 0-1 type: host, srflx, prflx, relay
                       bits 2-3 transport: UDP, TCP active, TCP passive, TCP simultaneous open
                       bit 4    family: IPv4, IPv6
                       bit 5    in a list: with a twin
                       bits 6-7 zero
    1      4 or 16     address, without a zone
    ..     2           port
    ..     2           local preference (RFC 8445 5.1.2.1)

The priority follows from type and local preference, both sides using the recommended type preferences. The foundation
is made from type, transport and address: it only has to be equal for candidates that share their fate, and two
candidates with one address do.

The twin of a UDP candidate is the passive TCP candidate with its address and port number, and the local preference that
follows from its own. So a list with a way around blocked UDP is as short as one without.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.priority import candidate_priority, passive_preference
from p2ptun.signal.cursor import Cursor
from p2ptun.types import Endpoint, Transport

_Looks: TypeAlias = tuple[CandidateType, Endpoint, TcpType | None, int]
_TYPES = (CandidateType.HOST, CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE, CandidateType.RELAYED)
_TRANSPORTS = (
    (Transport.UDP, None),
    (Transport.TCP, TcpType.ACTIVE),
    (Transport.TCP, TcpType.PASSIVE),
    (Transport.TCP, TcpType.SIMULTANEOUS_OPEN),
)


_TWIN = 1 << 5


def encode_candidate(candidate: Candidate) -> bytes:
    """Write one of our candidates. Raises LocalProtocolError for a transport that no candidate has."""
    transport = (candidate.transport, candidate.tcp_type)
    if transport not in _TRANSPORTS:
        raise LocalProtocolError(f"no candidate has transport {candidate.transport.value}, {candidate.tcp_type}")
    address = candidate.endpoint.address
    head = _TYPES.index(candidate.type) | _TRANSPORTS.index(transport) << 2 | (address.version == 6) << 4
    preference = _preference(candidate).to_bytes(2, "big")
    return bytes([head]) + address.packed + candidate.endpoint.port.to_bytes(2, "big") + preference


def encode_candidates(candidates: Sequence[Candidate]) -> list[bytes]:
    """Write a list of our candidates, twins as one. Raises LocalProtocolError as `encode_candidate` does."""
    there = {_looks(candidate): candidate for candidate in candidates}
    twins = {candidate: _find_twin(candidate, there) for candidate in candidates}
    merged = set(twins.values())
    entries = []
    for candidate in candidates:
        if candidate not in merged:
            entry = encode_candidate(candidate)
            entries.append(bytes([entry[0] | _TWIN]) + entry[1:] if twins[candidate] else entry)
    return entries


def decode_candidate(data: bytes, generation: int = 0, ufrag: str = "") -> Candidate:
    """Read one candidate of the other side, and nothing behind it. Untrusted. Raises MalformedPacket."""
    cursor = Cursor(data)
    first, *others = take_candidates(cursor, generation, ufrag)
    if cursor.left or others:
        raise MalformedPacket(f"{cursor.left} bytes behind a candidate" if cursor.left else "two candidates for one")
    return first


def take_candidates(cursor: Cursor, generation: int, ufrag: str) -> tuple[Candidate, ...]:
    """Take a candidate of the other side from `cursor`, and its twin. Untrusted. Raises MalformedPacket."""
    head = cursor.number(1)
    has_twin = bool(head & _TWIN)
    head &= ~_TWIN
    transport, tcp_type = _TRANSPORTS[head >> 2 & 3]
    if head >> 6 or (has_twin and transport is not Transport.UDP):
        raise MalformedPacket(f"candidate of unknown kind {head:#x}")
    candidate_type = _TYPES[head & 3]
    address = IPv6Address(cursor.take(16)) if head & 16 else IPv4Address(cursor.take(4))
    endpoint = Endpoint.of(address, cursor.number(2), transport)
    candidate = Candidate(
        type=candidate_type,
        endpoint=endpoint,
        priority=candidate_priority(candidate_type, cursor.number(2), transport),
        foundation=_foundation(candidate_type, endpoint),
        base=endpoint,
        generation=generation,
        ufrag=ufrag,
        tcp_type=tcp_type,
    )
    return (candidate, _twin_of(candidate)) if has_twin else (candidate,)


def _twin_of(candidate: Candidate) -> Candidate:
    endpoint = replace(candidate.endpoint, transport=Transport.TCP)
    preference = passive_preference(candidate.type, _preference(candidate))
    return replace(
        candidate,
        endpoint=endpoint,
        priority=candidate_priority(candidate.type, preference, Transport.TCP),
        foundation=_foundation(candidate.type, endpoint),
        base=endpoint,
        tcp_type=TcpType.PASSIVE,
    )


def _looks(candidate: Candidate) -> _Looks:
    """Give all of a candidate that is written."""
    return candidate.type, candidate.endpoint, candidate.tcp_type, candidate.priority


def _find_twin(candidate: Candidate, there: Mapping[_Looks, Candidate]) -> Candidate | None:
    return there.get(_looks(_twin_of(candidate))) if candidate.transport is Transport.UDP else None


def _preference(candidate: Candidate) -> int:
    return candidate.priority >> 8 & 0xFFFF


def _foundation(candidate_type: CandidateType, endpoint: Endpoint) -> str:
    kind = f"{candidate_type.value} {endpoint.transport.value} ".encode()
    return f"{zlib.crc32(kind + endpoint.address.packed):08x}"
