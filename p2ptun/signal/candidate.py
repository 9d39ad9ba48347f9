"""Candidates in signalling: 9 bytes for IPv4, 21 for IPv6 or a name, where RFC 8839's text takes a hundred characters.

::

    0      1 byte      bits 0-1 type: host, srflx, prflx, relay
                       bits 2-3 transport: UDP, TCP active, TCP passive, TCP simultaneous open
                       bit 4    family: IPv4, IPv6
                       bit 5    in a list: with a twin
                       bit 6    a name in place of the address; bit 4 is zero
                       bit 7    zero
    1      4 or 16     address, without a zone; or the UUID of the name `<uuid>.local`
    ..     2           port
    ..     2           local preference (RFC 8445 5.1.2.1)

The priority follows from type and local preference, both sides using the recommended type preferences. The foundation
is made from type, transport, whether both sides open a connection, and address: it only has to be equal for candidates
that share their fate, and those do.

The twin of a UDP candidate is the passive TCP candidate with its address and port number, and the local preference that
follows from its own. So a list with a way around blocked UDP is as short as one without.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.named import NamedCandidate, ToldCandidate
from p2ptun.ice.priority import candidate_priority, passive_preference
from p2ptun.mdns.name import UUID_SIZE, name_of_uuid, uuid_of_name
from p2ptun.signal.cursor import Cursor
from p2ptun.types import IPAddress, Transport, unmapped

_Place: TypeAlias = IPAddress | str
_TYPES = (CandidateType.HOST, CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE, CandidateType.RELAYED)
_Way: TypeAlias = tuple[Transport, TcpType | None]
_WAYS: tuple[_Way, ...] = (
    (Transport.UDP, None),
    (Transport.TCP, TcpType.ACTIVE),
    (Transport.TCP, TcpType.PASSIVE),
    (Transport.TCP, TcpType.SIMULTANEOUS_OPEN),
)
_IPV6, _TWIN, _NAME, _UNKNOWN = 1 << 4, 1 << 5, 1 << 6, 1 << 7


def encode_candidate(candidate: ToldCandidate) -> bytes:
    """Write a candidate.

    Raises:
        LocalProtocolError: For a transport that no candidate has, or a name without a UUID.
    """
    return _encode(_entry_of(candidate), 0)


def encode_candidates(candidates: Sequence[ToldCandidate]) -> list[bytes]:
    """Write a list of candidates, twins as one. Raises LocalProtocolError as `encode_candidate` does."""
    entries = [_entry_of(candidate) for candidate in candidates]
    twins = {entry: entry.twin for entry in entries if entry.way[0] is Transport.UDP}
    merged = set(twins.values()) & set(entries)
    return [_encode(entry, _TWIN * (twins.get(entry) in merged)) for entry in entries if entry not in merged]


def decode_candidate(data: bytes, generation: int = 0, ufrag: str = "") -> ToldCandidate:
    """Read one candidate of the other side, and nothing behind it. Untrusted. Raises MalformedPacket."""
    cursor = Cursor(data)
    first, *others = take_candidates(cursor, generation, ufrag)
    if cursor.left or others:
        raise MalformedPacket(f"{cursor.left} bytes behind a candidate" if cursor.left else "two candidates for one")
    return first


def take_candidates(cursor: Cursor, generation: int, ufrag: str) -> tuple[ToldCandidate, ...]:
    """Take a candidate of the other side from `cursor`, and its twin. Untrusted. Raises MalformedPacket."""
    head = cursor.number(1)
    way = _WAYS[head >> 2 & 3]
    if head & _UNKNOWN or (head & _TWIN and way[0] is not Transport.UDP) or (head & _NAME and head & _IPV6):
        raise MalformedPacket(f"candidate of unknown kind {head:#x}")
    entry = _Entry(_TYPES[head & 3], way, _take_place(head, cursor), cursor.number(2), cursor.number(2))
    entries = (entry, entry.twin) if head & _TWIN else (entry,)
    return tuple(each.candidate(generation, ufrag) for each in entries)


@dataclass(frozen=True, slots=True)
class _Entry:
    """All of a candidate that is written. `place` is its address or its name."""

    type: CandidateType
    way: _Way
    place: _Place
    port: int
    preference: int

    @property
    def twin(self) -> _Entry:
        """What bit 5 stands for."""
        preference = passive_preference(self.type, self.preference)
        return replace(self, way=(Transport.TCP, TcpType.PASSIVE), preference=preference)

    def candidate(self, generation: int, ufrag: str) -> ToldCandidate:
        """Make the candidate of the other side."""
        transport, tcp_type = self.way
        named = NamedCandidate(
            name=self.place if isinstance(self.place, str) else "",
            port=self.port,
            type=self.type,
            transport=transport,
            priority=candidate_priority(self.type, self.preference, transport),
            foundation=self._foundation(),
            generation=generation,
            ufrag=ufrag,
            tcp_type=tcp_type,
        )
        return named if isinstance(self.place, str) else named.resolve(self.place)

    def _foundation(self) -> str:
        is_open = self.way[1] is TcpType.SIMULTANEOUS_OPEN
        kind = f"{self.type.value} {self.way[0].value} {'so ' * is_open}".encode()
        return f"{zlib.crc32(kind + _packed(self.place)):08x}"


def _entry_of(candidate: ToldCandidate) -> _Entry:
    way = (candidate.transport, candidate.tcp_type)
    if way not in _WAYS:
        raise LocalProtocolError(f"no candidate has transport {candidate.transport.value}, {candidate.tcp_type}")
    place, port = _place_of(candidate)
    return _Entry(candidate.type, way, place, port, candidate.priority >> 8 & 0xFFFF)


def _place_of(candidate: ToldCandidate) -> tuple[_Place, int]:
    if isinstance(candidate, NamedCandidate):
        return candidate.name, candidate.port
    return candidate.name or candidate.endpoint.address, candidate.endpoint.port


def _encode(entry: _Entry, flags: int) -> bytes:
    head = _TYPES.index(entry.type) | _WAYS.index(entry.way) << 2 | flags
    if isinstance(entry.place, str):
        head |= _NAME
    elif entry.place.version == 6:
        head |= _IPV6
    return bytes([head]) + _packed(entry.place) + entry.port.to_bytes(2, "big") + entry.preference.to_bytes(2, "big")


def _packed(place: _Place) -> bytes:
    return uuid_of_name(place) if isinstance(place, str) else place.packed


def _take_place(head: int, cursor: Cursor) -> _Place:
    if head & _NAME:
        return name_of_uuid(cursor.take(UUID_SIZE))
    return unmapped(IPv6Address(cursor.take(16))) if head & _IPV6 else IPv4Address(cursor.take(4))
