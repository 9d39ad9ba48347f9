"""Keeps datagrams of a tunnel out of tunnels, where the socket alone doesn't.

A socket that is confined to its interface (`socket_options.confine`) sends through no other one, and ours are confined
where the kernel lets us. The rest follow the routes, and these may lead into a tunnel, even our own: what it carries
would run through itself. So the kernel is asked for each new destination which way it would go.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv6Address

from p2ptun.io.rtnetlink import INTERFACE_INDEX, ROUTE, Message, MessageType, encode_request, split_messages
from p2ptun.types import Endpoint, IPAddress, Transport

# linux/rtnetlink.h
_DESTINATION, _SOURCE, _INTERFACE, _PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 4, 27, 28, 29
_PORT = struct.Struct("!H")
_ANSWER_SIZE = 4096


class RouteGuard:
    """Tells through which interface the kernel would send, and whether that leads into a tunnel.

    One question takes the kernel some 10 us, in which it waits for nothing: it is asked in the event loop itself.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._sequence = 0
        self._links: Mapping[int, bool] = {}

    def learn(self, links: Mapping[int, bool]) -> None:
        """Know the interfaces by index, and whether each leads through a tunnel."""
        self._links = links

    def refuses(self, source: Endpoint, destination: Endpoint) -> bool:
        """Tell whether a datagram would go through a tunnel.

        An interface that has come since the last `learn` may be one: it is refused until it is known. Where there is
        no way at all, sending says so.
        """
        index = self.way_out(source, destination)
        return index is not None and self._links.get(index, True)

    def way_out(self, source: Endpoint, destination: Endpoint) -> int | None:
        """Return the index of the interface that a datagram would leave by; None when there is no way."""
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        try:
            self._socket.send(_question(self._sequence, source, destination))
            while True:
                for message in split_messages(self._socket.recv(_ANSWER_SIZE)):
                    if message.sequence == self._sequence:
                        return _interface_of(message)
        except OSError:  # nothing to read, or no memory: no answer is no way
            return None

    def close(self) -> None:
        """Close its socket; twice is harmless."""
        self._socket.close()


def _question(sequence: int, source: Endpoint, destination: Endpoint) -> bytes:
    """Write the request for the route of one flow, ports included: policy rules and multipath routes look at them."""
    bits = destination.address.max_prefixlen
    family = socket.AF_INET if destination.address.version == 4 else socket.AF_INET6
    attributes = {
        _DESTINATION: destination.address.packed,
        _SOURCE: source.address.packed,
        _PROTOCOL: bytes([socket.IPPROTO_UDP if destination.transport is Transport.UDP else socket.IPPROTO_TCP]),
        _SOURCE_PORT: _PORT.pack(source.port),
        _DESTINATION_PORT: _PORT.pack(destination.port),
    }
    if zone := _zone(destination.address) or _zone(source.address):
        attributes[_INTERFACE] = INTERFACE_INDEX.pack(socket.if_nametoindex(zone))
    return encode_request(MessageType.GET_ROUTE, sequence, ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0), attributes)


def _interface_of(answer: Message) -> int | None:
    if answer.type != MessageType.NEW_ROUTE:  # an error: there is no way
        return None
    packed = answer.attributes(ROUTE.size).get(_INTERFACE)
    return None if packed is None else int(INTERFACE_INDEX.unpack(packed)[0])


def _zone(address: IPAddress) -> str | None:
    return address.scope_id if isinstance(address, IPv6Address) else None
