"""Gateways for the tests of port mapping: answers as bytes, and a gateway that behaves as the RFCs say."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from p2ptun.nat.portmap import PortMapper
from p2ptun.nat.portmap_event import PortMapEvent
from p2ptun.types import Endpoint, IPAddress, Transmit

START = 1000.0
EPOCH = 5000
PORT = 41000
LOCAL, GATEWAY = Endpoint.of("192.168.1.10", 40000), Endpoint.of("192.168.1.1", 5351)
LOCAL_V6, GATEWAY_V6 = Endpoint.of("2001:db8:1::10", 40000), Endpoint.of("fe80::1%eth0", 5351)
OUTSIDE = ip_address("203.0.113.7")

ADDRESS_REQUEST = b"\0\0"
NO_PCP = bytes.fromhex("0080000100001388")  # RFC 6886 3.5: version 0 only

PCP_REQUEST = struct.Struct(">BBHI16s12sB3xHH16s")
PMP_REQUEST = struct.Struct(">BBHHHI")


def packed(address: IPAddress) -> bytes:
    return address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed


def pcp_answer(
    request: bytes, external: Endpoint, lifetime: int = 7200, epoch: int = EPOCH, result: int = 0, version: int = 2
) -> bytes:
    """Answer a MAP request; all but version, result and times is the request's."""
    _, opcode, _, _, _, nonce, protocol, internal, _, _ = PCP_REQUEST.unpack(request)
    header = struct.pack(">BBBBII12x", version, 0x80 | opcode, 0, result, lifetime, epoch)
    mapping = struct.pack(">12sB3xHH16s", nonce, protocol, internal, external.port, packed(external.address))
    return header + mapping


def pmp_address(address: IPAddress = OUTSIDE, epoch: int = EPOCH, result: int = 0) -> bytes:
    return struct.pack(">BBHI", 0, 128, result, epoch) + address.packed


def pmp_answer(request: bytes, external: int, lifetime: int = 7200, epoch: int = EPOCH, result: int = 0) -> bytes:
    _, opcode, _, internal, _, _ = PMP_REQUEST.unpack(request)
    return struct.pack(">BBHIHHI", 0, 128 | opcode, result, epoch, internal, external, lifetime)


@dataclass
class Gateway:
    """Answers what a mapper sends, when asked to; `seen` is what it was asked."""

    mapper: PortMapper
    speaks_pcp: bool = True
    speaks_pmp: bool = True
    external: IPAddress = OUTSIDE
    lifetime: int = 7200
    born_at: float = START - EPOCH
    mappings: dict[int, Endpoint] = field(default_factory=dict)
    seen: list[bytes] = field(default_factory=list)

    def serve(self, now: float) -> list[PortMapEvent]:
        """Answer until nothing more is asked; return what the mapper says to it."""
        for _ in range(1000):
            payloads = [transmit.payload for transmit in sent(self.mapper)]
            for payload in payloads:
                self.seen.append(payload)
                answer = self.answer(payload, now)
                if answer is not None:
                    self.mapper.receive_datagram(answer, self.mapper.gateway, LOCAL, now)
            if not payloads:
                return events(self.mapper)
        raise AssertionError("the mapper never stops asking")

    def answer(self, payload: bytes, now: float) -> bytes | None:
        epoch = int(now - self.born_at)
        if payload[0] == 2 and not self.speaks_pcp:
            return NO_PCP if self.speaks_pmp else None
        if payload[0] == 0 and not self.speaks_pmp:
            return struct.pack(">BBBBII12x", 2, 0x80 | payload[1], 0, 1, 0, epoch) if self.speaks_pcp else None
        if payload == ADDRESS_REQUEST:
            assert isinstance(self.external, IPv4Address)
            return pmp_address(self.external, epoch)
        if payload[0] == 0:
            return self._map_pmp(payload, epoch)
        fields = PCP_REQUEST.unpack(payload)
        lifetime, internal, suggested = fields[3], fields[7], fields[8]
        external = self._map(internal, suggested, lifetime)
        return pcp_answer(payload, external, min(lifetime, self.lifetime), epoch)

    def _map_pmp(self, payload: bytes, epoch: int) -> bytes:
        _, _, _, internal, suggested, lifetime = PMP_REQUEST.unpack(payload)
        external = self._map(internal, suggested, lifetime)
        return pmp_answer(payload, external.port, min(lifetime, self.lifetime), epoch)

    def _map(self, internal: int, suggested: int, lifetime: int) -> Endpoint:
        if lifetime == 0:
            self.mappings.pop(internal, None)
            return Endpoint(self.external, 0)
        self.mappings[internal] = Endpoint(self.external, suggested)
        return self.mappings[internal]


def make_mapper(local: Endpoint = LOCAL, gateway: Endpoint = GATEWAY, seed: int = 1) -> PortMapper:
    return PortMapper(local, gateway.address, Random(seed).randbytes)


def sent(mapper: PortMapper) -> list[Transmit]:
    """Take all that is to be sent."""
    return list(iter(mapper.next_transmit, None))


def payloads(mapper: PortMapper) -> list[bytes]:
    """Take all that is to be sent to the gateway."""
    transmits = sent(mapper)
    assert all(each.destination == mapper.gateway for each in transmits)
    return [each.payload for each in transmits]


def events(mapper: PortMapper) -> list[PortMapEvent]:
    """Take all that happened."""
    return list(iter(mapper.next_event, None))
