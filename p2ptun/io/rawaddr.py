"""Endpoints as `struct sockaddr_in` and `struct sockaddr_in6`: what recvmmsg and sendmmsg take and give.

::

    IPv4, 16 bytes:  family (2, of the host) | port (2) | address (4) | zeros (8)
    IPv6, 28 bytes:  family (2, of the host) | port (2) | flow label (4) | address (16) | interface (4, of the host)
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from p2ptun.io.sockaddr import endpoint_of, sockaddr_of
from p2ptun.types import Endpoint

LONGEST_NAME = 28

_FAMILY = struct.Struct("=H")
_PORT = struct.Struct("!H")
_INDEX = struct.Struct("=I")


def name_size(version: int) -> int:
    """Tell how many bytes the names of an IP version have."""
    return 16 if version == 4 else LONGEST_NAME


def encode_name(endpoint: Endpoint, local: Endpoint | None = None) -> bytes:
    """Write an endpoint as the kernel has it. A link-local address without a zone is on the link of `local`.

    Raises:
        OSError: If no interface has the zone's name.
    """
    if isinstance(endpoint.address, IPv4Address):
        return _FAMILY.pack(socket.AF_INET) + _PORT.pack(endpoint.port) + endpoint.address.packed + bytes(8)
    index = sockaddr_of(endpoint, local)[-1]
    head = _FAMILY.pack(socket.AF_INET6) + _PORT.pack(endpoint.port) + bytes(4)
    return head + endpoint.address.packed + _INDEX.pack(index)


def read_name(name: bytes) -> Endpoint:
    """Read what the kernel wrote. IPv4-mapped addresses don't occur: our IPv6 sockets are IPV6_V6ONLY."""
    (port,) = _PORT.unpack_from(name, 2)
    if len(name) == name_size(4):
        return Endpoint(IPv4Address(name[4:8]), port)
    (index,) = _INDEX.unpack_from(name, 24)
    return endpoint_of((str(IPv6Address(name[8:24])), port, 0, index))
