"""Many datagrams in one piece: the kernel splits what is sent (UDP_SEGMENT) and joins what comes (UDP_GRO).

::

    one call:   | datagram 1 | datagram 2 | ... | datagram n |      all of one size, but the last may be shorter

Linux knows the first since 4.18, the second since 5.0. Both are asked for socket by socket; either may be absent.
"""

from __future__ import annotations

import socket

UDP_SEGMENT = 103  # linux/udp.h: not in Python's socket module
UDP_GRO = 104

MAX_SEGMENTS = 64  # UDP_MAX_SEGMENTS, linux/udp.h, before Linux 6.9 made it 128
MAX_SEGMENTED_SIZE = 65000
"""Bytes of one segmented send: below the 65535 of an IP packet with headers and extension headers to spare."""


def has_segmentation(sock: socket.socket) -> bool:
    """Ask the kernel whether it knows UDP_SEGMENT. Whether the network card does shows with the first send."""
    try:
        sock.getsockopt(socket.SOL_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def enable_coalescing(sock: socket.socket) -> bool:
    """Let the kernel join datagrams of one source and one size (UDP_GRO); tell whether it will."""
    try:
        sock.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True
