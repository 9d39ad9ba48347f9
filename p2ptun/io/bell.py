"""A bell that the kernel rings when links, addresses or routes change (rtnetlink(7)).

What a message says is looked at just far enough to tell what it concerns; the state is read again by `netlink`, for
messages get lost when too many come at once.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

import trio

from p2ptun.io.address import LocalAddress
from p2ptun.io.rtnetlink import (
    IFF_UP_AND_RUNNING,
    INTERFACE_INDEX,
    MAIN_TABLE,
    ROUTE,
    Message,
    MessageType,
    split_messages,
)
from p2ptun.types import IPAddress, unmapped, without_zone

GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE of linux/rtnetlink.h."""

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, hardware, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL = 1, 2  # linux/if_addr.h
_RTA_OIF = 4  # linux/rtnetlink.h
_LARGEST_READ = 1 << 16

READS_AT_ONCE = 256
"""In a storm of messages there is always one more, and everybody else wants a turn, too."""


@dataclass(frozen=True, slots=True)
class Ring:
    """What rang.

    Attributes:
        is_loud: A link, an address or a default route changed, or messages got lost: the state wants to be read again.
            Otherwise it was other routes.
        interrupted: What was down or away for at least a moment: an interface by its index, or one of its addresses.
    """

    is_loud: bool = False
    interrupted: frozenset[tuple[int, IPAddress | None]] = frozenset()

    def __or__(self, other: Ring) -> Ring:
        return Ring(self.is_loud or other.is_loud, self.interrupted | other.interrupted)

    def has_interrupted(self, local: LocalAddress) -> bool:
        """Tell whether an address, as it is there now, was out of service for a moment."""
        bare = without_zone(local.address)
        return bool({(local.index, None), (local.index, bare)} & self.interrupted)


class Bell:
    """A netlink socket that hears of changes from the moment when it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, GROUPS))

    async def wait(self) -> None:
        """Wait until it rings."""
        await trio.lowlevel.wait_readable(self._socket)

    def take(self) -> Ring:
        """Read what has come; of very much, a part: the rest rings again."""
        ring = Ring()
        for _ in range(READS_AT_ONCE):
            try:
                data = self._socket.recv(_LARGEST_READ)
            except BlockingIOError:
                return ring
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                ring |= Ring(is_loud=True)
                continue
            ring |= read_ring(split_messages(data))
        return ring

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def __enter__(self) -> Bell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_ring(messages: Iterable[Message]) -> Ring:
    """Sum up what messages say."""
    ring = Ring()
    for message in messages:
        match message.type:
            case MessageType.NEW_LINK | MessageType.DEL_LINK if len(message.body) >= _LINK.size:
                ring |= _link_ring(message)
            case MessageType.NEW_ADDRESS | MessageType.DEL_ADDRESS if len(message.body) >= _ADDRESS.size:
                ring |= _address_ring(message)
            case MessageType.NEW_ROUTE | MessageType.DEL_ROUTE if len(message.body) >= ROUTE.size:
                ring |= _route_ring(message)
    return ring


def _link_ring(message: Message) -> Ring:
    family, _, index, flags, _ = _LINK.unpack_from(message.body)
    # what a bridge says of its ports looks alike, and leaving a bridge is no end of a link
    is_down = message.type == MessageType.DEL_LINK or flags & IFF_UP_AND_RUNNING != IFF_UP_AND_RUNNING
    return _ring_for(index, None, is_down and family == socket.AF_UNSPEC)


def _address_ring(message: Message) -> Ring:
    *_, index = _ADDRESS.unpack_from(message.body)
    found = message.attributes(_ADDRESS.size)
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    address = unmapped(ip_address(packed)) if packed else None
    return _ring_for(index, address, message.type == MessageType.DEL_ADDRESS)


def _route_ring(message: Message) -> Ring:
    _, length, _, _, table, *_ = ROUTE.unpack_from(message.body)
    if length or table != MAIN_TABLE:
        return Ring()
    packed = message.attributes(ROUTE.size).get(_RTA_OIF)
    index = INTERFACE_INDEX.unpack(packed)[0] if packed else 0
    return _ring_for(index, None, message.type == MessageType.DEL_ROUTE)


def _ring_for(index: int, address: IPAddress | None, is_interrupted: bool) -> Ring:
    return Ring(True, frozenset({(index, address)}) if is_interrupted else frozenset())
