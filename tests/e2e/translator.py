"""Translates whole IPv4 packets between the two sides of a NAT: pure, in place, fast enough for a transfer.

What is mapped where, and what is filtered, is the simulator's model of RFC 4787 (`tests.sim.nat`), so that both floors
of tests mean the same by a NAT's name. A decision of the model holds for a moment for all packets of a flow, which then
cost one look into a dictionary, one slice and two checksums (RFC 1624), whatever the model takes.

::

    0               9        10         12     16     20     22     24     26         28
    +-- - - - - - --+--------+----------+------+------+------+------+------+----------+-- - -
    | version, size | proto  | checksum | from | to   | port | port | size | checksum | data
    +-- - - - - - --+--------+----------+------+------+------+------+------+----------+-- - -
    IPv4 header, without options                      UDP header

A flow is known by the twelve bytes from 12 to 24, and it leaves with twelve others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from p2ptun.types import Endpoint
from tests.sim.nat import Nat

VERSION_AND_HEADER = 0x45  # IPv4, five words: no options
ICMP, UDP = 1, 17
SMALLEST = 28
ADDRESSES, FLOW = slice(12, 20), slice(12, 24)
QUOTED = 28  # where the packet begins that an ICMP error is about (RFC 792): two headers further on
QUOTED_FLOW = slice(QUOTED + 12, QUOTED + 24)
ICMP_ERRORS = {3, 11, 12}
DECISION_TIME = 0.05  # seconds; little against any lifetime
FRAGMENTS_KEPT = 1000


class Drop(Enum):
    """Why a packet goes no further."""

    NOT_UNDERSTOOD = "not understood"
    NO_WAY_IN = "no mapping, or filtered"
    NO_HAIRPIN = "no hairpin"
    STRAY = "neither from inside nor for the public address"
    LATE_FRAGMENT = "fragment without its first"


@dataclass(frozen=True, slots=True)
class Flow:
    """What becomes of a flow's packets: its new twelve bytes, until when, and what that adds to the checksums."""

    header: bytes
    until: float
    ip_change: int
    udp_change: int


class Translator:
    """One NAT and the packets that pass it. Counts what it drops."""

    def __init__(self, nat: Nat, lifetime: float) -> None:
        self.nat = nat
        self.drops: Counter[Drop] = Counter()
        self._decision_time = min(DECISION_TIME, lifetime / 20)
        self._flows: dict[bytes, Flow] = {}
        self._fragments: dict[bytes, Flow] = {}

    def forget(self) -> None:
        """Forget the decisions that hold, because the NAT has changed."""
        self._flows.clear()
        self._fragments.clear()

    def translate(self, packet: bytearray, size: int, now: float) -> bool:
        """Rewrite the packet in the first `size` bytes; False when it goes no further."""
        if size < SMALLEST or packet[0] != VERSION_AND_HEADER:
            return self._drop(Drop.NOT_UNDERSTOOD)
        if packet[9] != UDP:
            return self._translate_error(packet, size, now)
        if packet[6] & 0x3F or packet[7]:
            return self._translate_fragment(packet, now)
        flow = self._flow(bytes(packet[FLOW]), now)
        if flow is None:
            return False
        _rewrite(packet, flow)
        return True

    def _flow(self, header: bytes, now: float) -> Flow | None:
        flow = self._flows.get(header)
        if flow is not None and now < flow.until:
            return flow
        decision = self._decide(_source(header), _destination(header), now)
        if isinstance(decision, Drop):
            self._drop(decision)
            return None
        flow = self._flows[header] = _flow(header, *decision, now + self._decision_time)
        return flow

    def _decide(self, source: Endpoint, destination: Endpoint, now: float) -> tuple[Endpoint, Endpoint] | Drop:
        """Ask the model for what a packet's source and destination become."""
        is_from_inside = self.nat.covers(source.address)
        if not self.nat.faces(destination.address):
            return (self.nat.outbound(source, destination, now), destination) if is_from_inside else Drop.STRAY
        if is_from_inside:
            if not self.nat.has_hairpin:
                return Drop.NO_HAIRPIN
            source = self.nat.outbound(source, destination, now)  # RFC 4787 6, REQ-9: seen from outside
        inside = self.nat.inbound(destination, source, now)
        return Drop.NO_WAY_IN if inside is None else (source, inside)

    def _translate_fragment(self, packet: bytearray, now: float) -> bool:
        """Translate a part of a datagram: only the first has ports, and what it got is kept for the others."""
        key = bytes(packet[ADDRESSES] + packet[4:6])
        if packet[6] & 0x1F or packet[7]:
            flow = self._fragments.get(key)
            if flow is None:
                return self._drop(Drop.LATE_FRAGMENT)
            packet[ADDRESSES] = flow.header[:8]
            _adjust(packet, 10, flow.ip_change)
            return True
        flow = self._flow(bytes(packet[FLOW]), now)
        if flow is None:
            return False
        if len(self._fragments) >= FRAGMENTS_KEPT:
            self._fragments.clear()
        self._fragments[key] = flow
        _rewrite(packet, flow)
        return True

    def _translate_error(self, packet: bytearray, size: int, now: float) -> bool:
        """Translate an ICMP error from outside about a datagram from inside (RFC 5508 4.2); others go no further."""
        if packet[9] != ICMP or packet[20] not in ICMP_ERRORS or size < QUOTED + SMALLEST:
            return self._drop(Drop.NOT_UNDERSTOOD)
        quoted = bytes(packet[QUOTED_FLOW])
        mapped, remote = _source(quoted), _destination(quoted)
        if packet[QUOTED] != VERSION_AND_HEADER or packet[QUOTED + 9] != UDP or not self.nat.faces(mapped.address):
            return self._drop(Drop.NOT_UNDERSTOOD)
        inside = self.nat.inbound(mapped, remote, now)
        if inside is None:
            return self._drop(Drop.NO_WAY_IN)
        flow = _flow(quoted, inside, remote, now)
        packet[QUOTED_FLOW] = flow.header
        _adjust(packet, QUOTED + 10, flow.ip_change)
        packet[16:20] = inside.address.packed
        _put(packet, 10, checksum(packet[:10] + packet[12:20]))
        _put(packet, 22, checksum(packet[20:22] + packet[24:size]))
        return True

    def _drop(self, reason: Drop) -> bool:
        self.drops[reason] += 1
        return False


def checksum(data: bytes | bytearray) -> int:
    """Compute the internet checksum (RFC 1071) of bytes that leave the checksum itself out."""
    return ~_folded(_words(data)) & 0xFFFF


def _flow(old: bytes, source: Endpoint, destination: Endpoint, until: float) -> Flow:
    addresses = source.address.packed + destination.address.packed
    new = addresses + source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    return Flow(new, until, _change(old[:8], addresses), _change(old, new))


def _rewrite(packet: bytearray, flow: Flow) -> None:
    packet[FLOW] = flow.header
    _adjust(packet, 10, flow.ip_change)
    if packet[26] or packet[27]:  # RFC 768: zero says that there is no checksum
        _adjust(packet, 26, flow.udp_change)
        if not (packet[26] or packet[27]):
            _put(packet, 26, 0xFFFF)


def _adjust(packet: bytearray, at: int, change: int) -> None:
    """Update a checksum: HC' = ~(~HC + ~m + m') (RFC 1624 3)."""
    total = (~(packet[at] << 8 | packet[at + 1]) & 0xFFFF) + change
    total = (total & 0xFFFF) + (total >> 16)
    _put(packet, at, ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)


def _put(packet: bytearray, at: int, value: int) -> None:
    packet[at], packet[at + 1] = value >> 8, value & 0xFF


def _change(old: bytes, new: bytes) -> int:
    """Give ~m + m' of all words that change."""
    return _folded(_words(bytes(byte ^ 0xFF for byte in old)) + _words(new))


def _words(data: bytes | bytearray) -> int:
    padded = bytes(data) + bytes(len(data) % 2)
    return sum(padded[0::2]) * 256 + sum(padded[1::2])


def _folded(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _source(header: bytes) -> Endpoint:
    return Endpoint(IPv4Address(header[0:4]), int.from_bytes(header[8:10], "big"))


def _destination(header: bytes) -> Endpoint:
    return Endpoint(IPv4Address(header[4:8]), int.from_bytes(header[10:12], "big"))
