"""IP headers of inner packets, read in place. Whether they come from a peer or the kernel, every field is checked.

::

    IPv4 (RFC 791 3.1)     version 4, header length 4 | - | total length 16 | ... | source at 12 | destination at 16
    IPv6 (RFC 8200 3)      version 4 | ... | payload length 16 at 4 | ... | source at 8 | destination at 24

Addresses are handed on as 4 or 16 bytes: on the hot path an `ipaddress` object costs more than sealing the packet.
"""

from __future__ import annotations

from typing import TypeAlias

Raw: TypeAlias = bytes | bytearray

IPV4_HEADER = 20
IPV6_HEADER = 40

_UNSPECIFIED_6 = bytes(16)
_LOOPBACK_6 = bytes(15) + b"\x01"
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2
_BROADCAST = b"\xff\xff\xff\xff"


def packet_length(raw: Raw, start: int, end: int) -> int:
    """Return the length that the IP packet at `start` claims; 0 unless its header is sound and it ends by `end`."""
    available = end - start
    if available < IPV4_HEADER:
        return 0
    first = raw[start]
    if first >> 4 == 4:
        length = raw[start + 2] << 8 | raw[start + 3]
        header = (first & 15) << 2
        return length if IPV4_HEADER <= header <= length <= available else 0
    if first >> 4 == 6 and available >= IPV6_HEADER:
        length = IPV6_HEADER + (raw[start + 4] << 8 | raw[start + 5])
        return length if length <= available else 0
    return 0


def source_of(raw: Raw, start: int) -> bytes:
    """Return the source address of the packet at `start`, whose `packet_length` isn't 0."""
    if raw[start] >> 4 == 4:
        return bytes(raw[start + 12 : start + 16])
    return bytes(raw[start + 8 : start + 24])


def destination_of(raw: Raw, start: int) -> bytes:
    """Return the destination address of the packet at `start`, whose `packet_length` isn't 0."""
    if raw[start] >> 4 == 4:
        return bytes(raw[start + 16 : start + 20])
    return bytes(raw[start + 24 : start + 40])


def unmapped(address: bytes) -> bytes:
    """Return the 4 bytes inside an IPv4-mapped IPv6 address, any other address as it is."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


def is_martian_source(address: bytes) -> bool:
    """Tell whether no host may send from `address`.

    Unspecified, loopback, multicast, broadcast (RFC 1122 3.2.1.3), and IPv4-mapped, which exists inside hosts only.
    """
    if len(address) == 4:
        return address[0] in (0, 127) or 224 <= address[0] < 240 or address == _BROADCAST
    return address[0] == 0xFF or address in (_UNSPECIFIED_6, _LOOPBACK_6) or address.startswith(_MAPPED)
