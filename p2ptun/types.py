"""The few values that every layer shares. Nothing here knows a protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_address
from typing import Protocol, TypeAlias, TypeVar

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPInterface: TypeAlias = IPv4Interface | IPv6Interface
IPNetwork: TypeAlias = IPv4Network | IPv6Network

RandomBytes: TypeAlias = Callable[[int], bytes]
"""The source of randomness that a machine is given: `random_bytes(n)` returns n bytes (`os.urandom` in the product)."""

EventT_co = TypeVar("EventT_co", covariant=True)


_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2
_COMPATIBLE = bytes(12)  # RFC 4291 2.5.5.1
_SIX_TO_FOUR = b"\x20\x02"  # RFC 3056 2
_TEREDO = b"\x20\x01\x00\x00"  # RFC 4380 2.6
_NAT64 = b"\x00\x64\xff\x9b" + bytes(8)  # RFC 6052 2.1
_NAT64_LOCAL = b"\x00\x64\xff\x9b\x00\x01"  # RFC 8215; we look at prefixes of 96 bits in it
_NOT = bytes(255 - byte for byte in range(256))


class Transport(Enum):
    """What carries a candidate's or a server's packets."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A transport address: IP address, and port of a transport protocol (RFC 8445 4).

    A link-local IPv6 address carries its zone inside (`fe80::1%eth0`); no encoder puts the zone on the wire.
    IPv4-mapped IPv6 addresses never occur: `Endpoint.of` and every decoder turn them into IPv4.
    """

    address: IPAddress
    port: int
    transport: Transport = Transport.UDP

    @classmethod
    def of(cls, address: str | IPAddress, port: int, transport: Transport = Transport.UDP) -> Endpoint:
        """Build one from text or an address object, normalised by `unmapped`."""
        return cls(unmapped(ip_address(address) if isinstance(address, str) else address), port, transport)

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def unmapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address inside an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`), any other address as it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def without_zone(address: IPAddress) -> IPAddress:
    """Strip the zone, which has a meaning on this machine only."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return IPv6Address(int(address))
    return address


def embedded_ipv4(address: bytes) -> bytes | None:
    """Return the IPv4 address that an IPv6 address stands for by its form: mapped, compatible, 6to4, Teredo, NAT64."""
    if len(address) == 4:
        return None
    if address.startswith(_SIX_TO_FOUR):
        return address[2:6]
    if address.startswith(_TEREDO):
        return address[12:].translate(_NOT)
    if address.startswith((_MAPPED, _COMPATIBLE, _NAT64, _NAT64_LOCAL)):
        return address[12:]
    return None


@dataclass(frozen=True, slots=True)
class Transmit:
    """A datagram that a machine wants sent: from the socket bound to `source`, to `destination`.

    Between two TCP endpoints it travels in a frame of its own (RFC 4571 2) over the one connection of this pair, which
    the owner opens when there is none yet.
    """

    payload: bytes
    source: Endpoint
    destination: Endpoint


class SendError(Enum):
    """Why the kernel didn't take a datagram. It concerns that destination only, but for WOULD_BLOCK and SOURCE_GONE."""

    WOULD_BLOCK = "socket full"
    UNREACHABLE = "no route"
    REFUSED_BY_FIREWALL = "refused by the local firewall"
    REFUSED = "refused by the other side"  # an ICMP error, which anybody can forge: a hint, no proof
    TIMED_OUT = "no answer"  # a TCP connection only
    TOO_LARGE = "too large for the link"
    NO_BUFFERS = "no buffers"
    SOURCE_GONE = "local address gone"
    UNTRUSTED = "certificate refused"  # TLS only: the server can't prove its name
    REFUSED_BY_RELAY = "refused by the relay"  # RFC 8656 19.1: 403, it doesn't send there for us
    THROUGH_TUNNEL = "through a tunnel"  # the route leads into one; what it carries would run through itself
    OTHER = "refused by the kernel"


class Machine(Protocol[EventT_co]):
    """The five doors of a protocol object.

    The ICE agent has just these. One that knows no addresses takes and gives bytes (`tunnel.session`); one on the hot
    path has doors for batches besides (`node.node`).

    It is driven by three things only: commands of its owner, datagrams, and time. After any of them the owner takes
    everything from `next_transmit`, then from `next_event`, until they return None, and then reads `next_timeout`.

    * `now` is monotonic, in seconds. The machine reads no clock.
    * `handle_timeout` early, late or twice is harmless; after it `next_timeout()` is None or later than `now`.
    * Hostile bytes never raise out of `receive_datagram` and change nothing before they are authenticated.
    """

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None: ...

    def handle_timeout(self, now: float) -> None: ...

    def next_transmit(self) -> Transmit | None: ...

    def next_event(self) -> EventT_co | None: ...

    def next_timeout(self) -> float | None: ...
